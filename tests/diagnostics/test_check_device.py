"""`check-device`, and what it is made of, on a machine without a device."""

import json
import math
import warnings

import pytest
import torch

from mri_alps.diagnostics import device_check
from mri_alps.diagnostics.host_traffic import HostTraffic, OnDevice, on_device, watched
from mri_alps.operators import SenseOperator
from mri_alps.priors import load_prior

CPU = torch.device("cpu")


def recorded(work):
    """Return what is recorded while `work` has a tensor of the pretended device."""
    tensor = on_device(torch.arange(6.0), CPU)
    with watched(CPU) as traffic:
        traffic.watching = True
        work(tensor)
        traffic.watching = False
        float(tensor[0])  # after the loop
    return traffic.found


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.sum().item(),
        lambda x: float(x.max()),
        lambda x: int(x[0]),
        lambda x: bool((x > 0).all()),
        lambda x: 1 if x.sum() > 3 else 0,
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.numpy(),
        lambda x: x[x > 2],
        lambda x: x[[0, 2]],
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x),
        lambda x: x + torch.as_tensor(0.5, device=CPU),
        lambda x: x + torch.ones(6).to(x.device),
        lambda x: (x * 2).reshape(2, 3).sum(0)[1].item(),
    ],
)
def test_what_makes_the_host_wait_is_recorded(work):
    (found,) = recorded(work)
    assert "test_check_device.py" in found


@pytest.mark.parametrize(
    "work",
    [
        lambda x: torch.fft.fft(x).abs().square().sum(),
        lambda x: torch.where(x > 2, x, torch.zeros_like(x)),
        lambda x: x + torch.full((), 0.5, device=x.device),
        lambda x: x[1:4] + x[:, None][2],
        lambda x: (x * 0.5).reshape(2, 3).amax(1),
        lambda x: x.repeat_interleave(2),
        lambda x: (x.shape[0], x.device, x.dtype, len(x), x.numel()),
        lambda x: torch.ones(3).sum().item(),
        lambda x: x.to(torch.float64),
    ],
)
def test_what_does_not_is_not(work):
    assert recorded(work) == []


def test_made_on_the_device_is_on_the_device():
    with HostTraffic():
        assert isinstance(torch.zeros(3, device=CPU), OnDevice)
        assert not isinstance(torch.zeros(3), OnDevice)
    assert not isinstance(torch.zeros(3, device=CPU), OnDevice)


def test_on_cuda_torch_does_the_watching(monkeypatch):
    """With torch's own switch replaced by one that a machine without a device has."""
    mode = ["default"]
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda value: mode.append(value))
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: int(mode[-1] == "warn"))
    with watched(torch.device("cuda")) as traffic:
        assert not traffic.watching
        traffic.watching = True
        assert mode[-1] == "warn" and traffic.watching
        for _ in range(2):
            warnings.warn("called a synchronizing CUDA operation", UserWarning, stacklevel=1)
    assert mode[-1] == "default"
    (found,) = traffic.found
    assert found.startswith("test_check_device.py:")


def test_operators_do_not_make_the_host_wait():
    for pattern in ("lines", "points"):
        scan = device_check.make_scan((64, 48), 4, pattern)
        operator = SenseOperator(on_device(scan.sensitivity_maps, CPU), on_device(scan.mask, CPU))
        x = on_device(scan.image[None], CPU)
        operator.normal(x)
        with watched(CPU) as traffic:
            traffic.watching = True
            result = operator.normal(x) + operator.adjoint(operator.forward(x))
        assert traffic.found == []
        assert isinstance(result, OnDevice)


def test_the_network_does_not_make_the_host_wait():
    prior = load_prior("brain-small")
    x = on_device(torch.zeros(2, 32, 24, dtype=torch.complex64), CPU)
    with watched(CPU) as traffic, torch.no_grad():
        traffic.watching = True
        result = prior.score(x, 0.3)
    assert traffic.found == []
    assert isinstance(result, OnDevice)


@pytest.mark.parametrize("pattern", ["lines", "points"])
def test_a_step_never_makes_the_host_wait(pattern):
    assert device_check.find_host_traffic(load_prior("brain-small"), CPU, pattern) == []


def test_a_device_that_computes_something_else_is_found_out(monkeypatch):
    prior = load_prior("gaussian")
    normal = SenseOperator.normal

    def wrong(self, x):
        return normal(self, x) * (1.001 if isinstance(x, OnDevice) else 1)

    monkeypatch.setattr(SenseOperator, "normal", wrong)
    found = {c.name: c.equal for c in device_check.compare_with_cpu(prior, prior, CPU)}
    assert not found["A^H A x, lines"] and not found["A^H A x, points"]
    assert found["A x, lines"] and found["sensitivity maps"]
    assert not device_check.Comparison("nothing to compare", math.nan).equal


def test_the_command(run):
    finished = run("check-device", "--device", "cpu", "--prior", "gaussian", "--quick", "--json")
    assert finished.code == 0, finished.err
    found = json.loads(finished.out)
    assert all(c["equal"] and c["difference"] < c["bound"] for c in found["comparisons"])
    compared = {comparison["name"] for comparison in found["comparisons"]}
    assert {"samples, lines", "samples, points", "sensitivity maps"} <= compared
    assert found["host_synchronisation"] == [] and found["device"] == "cpu"
    names = " ".join(timing["name"] for timing in found["timings"])
    assert "normal, 4 x 64x48, points" in names and "step, 4 x 64x48, lines, 2 samples" in names
    assert all(timing["milliseconds"] > 0 for timing in found["timings"])


def test_the_command_fails_where_something_differs_or_waits(run, monkeypatch):
    from mri_alps.cli import check_device

    monkeypatch.setattr(check_device, "find_host_traffic", lambda *_: ["alps.py:1 (step): item"])
    wrong = [device_check.Comparison("A x, lines", 0.1)]
    monkeypatch.setattr(check_device, "compare_with_cpu", lambda *_: wrong)
    monkeypatch.setattr(check_device, "time_device", lambda *_, **__: [])
    finished = run("check-device", "--device", "cpu", "--prior", "gaussian")
    assert finished.code == 1
    assert "alps.py:1 (step): item" in finished.out and "above 0.0001" in finished.out
    assert "differs from the CPU in A x, lines (1.0e-01) and makes the host wait" in finished.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_a_sentence_says_so(run):
    finished = run("check-device", "--device", "cuda")
    assert finished.code == 1 and finished.err.count("\n") == 1
    assert "this machine has 0 CUDA devices: use --device cpu or auto" in " ".join(
        finished.err.split()
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_passes(run):
    finished = run("check-device", "--device", "cuda", "--quick")
    assert finished.code == 0, finished.err + finished.out
