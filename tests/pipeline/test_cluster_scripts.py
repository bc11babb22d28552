"""The example scripts for SLURM and SSH, as far as they go without such machines."""

import importlib.util
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "examples" / "cluster"


def load(name):
    if not SCRIPTS.is_dir():
        pytest.skip("the examples are not part of an installed package")
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")  # dask-jobqueue's own
def test_the_slurm_job_asks_for_what_was_said(capsys, tmp_path, monkeypatch):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.chdir(tmp_path)
    script = load("slurm_reconstruct")
    arguments = ["in", "-o", "out", "--partition", "gpu", "--account", "mri", "--cpus", "6"]
    assert script.main([*arguments, "--print-job", "--", "--mask", "equispaced"]) == 0
    job = capsys.readouterr().out
    for line in ("#SBATCH -p gpu", "#SBATCH -A mri", "#SBATCH --gres=gpu:1",
                 "#SBATCH --cpus-per-task=6", "OMP_NUM_THREADS=6", "MRI_ALPS_THREADS=6",
                 "distributed.cli.dask_worker tls://", "--nthreads 2", "--protocol tls://",
                 "--tls-ca-file", "--tls-cert", "--tls-key"):  # fmt: skip
        assert line in job, job
    assert "PRIVATE KEY" not in job
    assert list((tmp_path / "out").iterdir()) == []  # the key is gone


def test_the_rest_goes_to_mri_alps():
    pytest.importorskip("dask_jobqueue")
    options, rest = load("slurm_reconstruct").parse(["a", "b", "-o", "c", "--", "--seed", "1"])
    assert (options.inputs, options.output, rest) == (["a", "b"], "c", ["--seed", "1"])


def test_each_worker_of_a_machine_has_its_own_gpu():
    pytest.importorskip("distributed")
    found = load("ssh_reconstruct").remote_pythons(["a", "b", "a"], 2)
    assert len(found) == 4  # the scheduler's first
    gpus = [command.split("CUDA_VISIBLE_DEVICES=")[1].split()[0] for command in found[1:]]
    assert gpus == ["0", "0", "1"]


def test_machines_reached_by_ssh_are_told_of_the_certificates(monkeypatch, tmp_path):
    distributed = pytest.importorskip("distributed")
    script = load("ssh_reconstruct")
    seen = []
    monkeypatch.setattr(script, "SSHCluster", lambda hosts, **options: seen.append(options))
    import dask.config

    from mri_alps.pipeline.cluster import shared_certificates

    options = script.argparse.Namespace(hosts=["a", "b"], threads=1)
    with shared_certificates(tmp_path) as folder:
        script.make_cluster(options)
        # This is how dask hands its configuration to the machines, on their command lines.
        assert dask.config.global_config["distributed"]["comm"]["require-encryption"]
        text = str(dask.config.global_config)
    (told,) = seen
    assert isinstance(told["security"], distributed.Security)
    assert told["security"].require_encryption
    assert told["scheduler_options"]["protocol"] == "tls://"
    assert str(folder / "key.pem") in text and "PRIVATE KEY" not in text
