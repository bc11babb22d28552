"""What raw data say of patient, study, series and sequence, whatever their format."""

import datetime

import numpy as np
import pytest

from mri_alps.rawdata import read_raw
from tests.rawdata import twix_files as twix

PATIENT = """<ParamString."tPatientName">  { "Doe^Jane" }
<ParamString."PatientID">  { "4711" }
<ParamLong."lPatientSex">  { 1  }
<ParamDouble."flUsedPatientWeight">  { <Precision> 6  70.5 }
<ParamString."tFrameOfReference">  { "1.3.12.2.1107.2" }
<ParamString."InstitutionName">  { "NIH" }
<ParamString."DeviceSerialNumber">  { "45387" }
"""
SEQUENCE = """lContrasts = 2
alTR[0] = 500000
alTE[0] = 2980
alTE[1] = 5500
alTE[2] = 9000
adFlipAngleDegree[0] = 15.5
sTXSPEC.asNucleusInfo[0].lFrequency = 123182813
"""


def test_a_siemens_protocol(tmp_path):
    pytest.importorskip("twixtools", reason="twixtools are missing: pip install 'mri-alps[twix]'")
    buffers = twix.protocol(32, 32, (240.0, 200.0, 5.0), more=SEQUENCE + "alTI[0] = none\n")
    buffers["Meas"] += PATIENT
    kspace = np.random.default_rng(0).standard_normal((32, 4, 64)) + 0j
    kspace *= 100 * np.exp(-((np.arange(32) - 16.0)[:, None, None] ** 2) / 9)
    kspace *= np.exp(-((np.arange(64) - 32.0) ** 2) / 9)
    lines = [twix.line(k, Lin=row, CenterLin=16) for row, k in enumerate(kspace)]
    raw = read_raw(twix.write_vd(tmp_path / "m.dat", [("gre", buffers, lines)]))
    assert raw.provenance["study"] == {
        "patient_name": "Doe^Jane",
        "patient_id": "4711",
        "patient_sex": "F",
        "patient_weight_kg": "70.5",
        "frame_of_reference_uid": "1.3.12.2.1107.2",
        "institution": "NIH",
        "device_serial_number": "45387",
        "proton_frequency_hz": "123182813",
        "repetition_times_ms": ["500"],
        "echo_times_ms": ["2.98", "5.5"],
        "flip_angles_degree": ["15.5"],
    }


def test_an_mrd_2_header(tmp_path):
    mrd = pytest.importorskip("mrd", reason="mrd-python is missing: pip install 'mri-alps[mrd]'")
    from mrd.yardl_types import Time

    from mri_alps.rawdata.mrd2._header import header_of

    encoding = mrd.EncodingType()
    for space in (encoding.encoded_space, encoding.recon_space):
        space.matrix_size.x = space.matrix_size.y = 8
    header = mrd.Header(
        subject_information=mrd.SubjectInformationType(
            patient_name="Doe^Jane",
            patient_gender=mrd.PatientGender.F,
            patient_birthdate=datetime.date(1970, 1, 31),
            patient_weight_kg=np.float32(70.5),
        ),
        study_information=mrd.StudyInformationType(
            study_date=datetime.date(2019, 3, 14),
            study_time=Time.from_components(22, 34, 35),
            accession_number=77,
        ),
        measurement_information=mrd.MeasurementInformationType(
            frame_of_reference_uid="1.2.3", patient_position=mrd.PatientPosition.F_FS
        ),
        experimental_conditions=mrd.ExperimentalConditionsType(h1resonance_frequency_hz=123000000),
        sequence_parameters=mrd.SequenceParametersType(t_r=[2000.0], t_e=[2.98, 5.5]),
        encoding=[encoding],
    )
    assert header_of(header, tmp_path / "x.mrd2").study == {
        "patient_name": "Doe^Jane",
        "patient_sex": "F",
        "patient_birth_date": "1970-01-31",
        "patient_weight_kg": "70.5",
        "study_date": "2019-03-14",
        "study_time": "22:34:35",
        "accession_number": "77",
        "frame_of_reference_uid": "1.2.3",
        "patient_position": "FFS",
        "proton_frequency_hz": "123000000",
        "repetition_times_ms": ["2000"],
        "echo_times_ms": ["2.98", "5.5"],
    }
