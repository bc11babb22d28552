"""DICOM read back by pydicom and judged by dciodvfy: values, places, and what the header knew."""

import copy
import shutil
import subprocess

import numpy as np
import pytest

from mri_alps.core.errors import ConfigurationError, InputFileError
from mri_alps.interop import write_dicom
from mri_alps.operators.rounding import assert_equal_to_rounding
from mri_alps.rawdata.header import parse_header
from tests.interop.test_images import PIXELS, THICKNESS, make_reconstruction, place

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<subjectInformation><patientName>Doe^Jane</patientName><patientWeight_kg>70.5</patientWeight_kg>
<patientID>4711</patientID><patientBirthdate>1970-01-31</patientBirthdate>
<patientGender>F</patientGender></subjectInformation>
<studyInformation><studyDate>2019-03-14</studyDate><studyTime>22:34:35.25</studyTime>
<studyID>12</studyID><accessionNumber>77</accessionNumber>
<referringPhysicianName>Roe^R</referringPhysicianName>
<studyDescription>HEAD RESEARCH</studyDescription>
<studyInstanceUID>1.3.12.2.1107.1</studyInstanceUID>
<bodyPartExamined>BRAIN</bodyPartExamined></studyInformation>
<measurementInformation><measurementID>45387_1</measurementID><seriesDate>2019-03-14</seriesDate>
<seriesTime>22:40:00</seriesTime><patientPosition>FFS</patientPosition>
<initialSeriesNumber>5</initialSeriesNumber><protocolName>t1_ir</protocolName>
<sequenceName>tfl3d</sequenceName><seriesDescription>t1 sagittal</seriesDescription>
<frameOfReferenceUID>1.3.12.2.1107.2</frameOfReferenceUID></measurementInformation>
<acquisitionSystemInformation><systemVendor>ACME</systemVendor><systemModel>Sky</systemModel>
<systemFieldStrength_T>2.89362</systemFieldStrength_T><institutionName>NIH</institutionName>
<stationName>MR1</stationName><deviceSerialNumber>45387</deviceSerialNumber>
</acquisitionSystemInformation>
<experimentalConditions><H1resonanceFrequency_Hz>123182813</H1resonanceFrequency_Hz>
</experimentalConditions>
<encoding><encodedSpace><matrixSize><x>8</x><y>8</y><z>1</z></matrixSize></encodedSpace>
<trajectory>cartesian</trajectory><echoTrainLength>8</echoTrainLength></encoding>
<sequenceParameters><TR>2000</TR><TE>2.98</TE><TE>5.5</TE><TI>900</TI>
<flipAngle_deg>9</flipAngle_deg><sequence_type>Mprage</sequence_type></sequenceParameters>
</ismrmrdHeader>"""
KNOWN = {
    "PatientName": "Doe^Jane",
    "PatientID": "4711",
    "PatientBirthDate": "19700131",
    "PatientSex": "F",
    "PatientWeight": 70.5,
    "StudyDate": "20190314",
    "StudyTime": "223435.25",
    "StudyID": "12",
    "AccessionNumber": "77",
    "ReferringPhysicianName": "Roe^R",
    "StudyDescription": "HEAD RESEARCH",
    "StudyInstanceUID": "1.3.12.2.1107.1",
    "FrameOfReferenceUID": "1.3.12.2.1107.2",
    "BodyPartExamined": "BRAIN",
    "PatientPosition": "FFS",
    "SeriesDate": "20190314",
    "SeriesTime": "224000",
    "ProtocolName": "t1 sagittal",
    "MagneticFieldStrength": 2.89362,
}
OF_THE_SEQUENCE = {
    "RepetitionTime": 2000,
    "EchoTime": 5.5,
    "InversionTime": 900,
    "FlipAngle": 9,
    "EchoTrainLength": 8,
    "ImagingFrequency": 123.182813,
    "SequenceName": "tfl3d",
    "Manufacturer": "ACME",
    "ManufacturerModelName": "Sky",
    "InstitutionName": "NIH",
    "StationName": "MR1",
    "DeviceSerialNumber": "45387",
}


@pytest.fixture
def made(tmp_path):
    """A reconstruction in a file, which says when it was made."""
    path = tmp_path / "scan.h5"
    path.touch()
    return make_reconstruction(path=path)


@pytest.fixture
def known(made):
    """One whose raw data's header said everything; the second echo was reconstructed."""
    header = parse_header(HEADER, made.path)
    made.attributes["provenance"] |= {
        "header": header.parameters,
        "study": header.study,
        "counters": {"contrast": {"chosen": 1}},
    }
    return made


def check_pixel_place(position, orientation, spacing, made, k):
    along_row, along_column = np.array(orientation, float).reshape(2, 3)
    for _, i, j in PIXELS:
        # the equation of DICOM PS3.3 C.7.6.2.1.1: columns step along a row
        found = np.array(position, float) + j * float(spacing[1]) * along_row
        found = found + i * float(spacing[0]) * along_column
        assert_equal_to_rounding(found, place(made, k, i, j), n_summed=4, dtype="float32")


def check_values(stored, slope, mapping, images):
    """Rescaled values are the image times a power of ten, mapped ones the image."""
    scale = slope / mapping.RealWorldValueSlope
    assert np.log10(scale) == pytest.approx(np.round(np.log10(scale)), abs=1e-6)
    assert np.abs(stored * mapping.RealWorldValueSlope - images).max() <= images.max() / 65535
    return scale


def check_window(center, width, shown):
    assert 1 <= float(width) <= 1.01 * shown.max() and float(width) > 0.5 * shown.max()
    assert float(center) == pytest.approx(float(width) / 2, abs=1e-3)


def test_classic(tmp_path, made):
    paths = write_dicom(made, tmp_path / "d", classic=True)
    assert len(paths) == 6
    uids, scales = set(), set()
    for name, images in (("mean", made.reconstruction), ("std", made.reconstruction_std)):
        files = [pydicom.dcmread(p) for p in sorted((tmp_path / "d" / name).iterdir())]
        assert len({file.SeriesInstanceUID for file in files}) == 1
        uids |= {(file.StudyInstanceUID, file.SeriesInstanceUID) for file in files}
        for k, file in enumerate(files):
            slope, mapping = float(file.RescaleSlope), file.RealWorldValueMappingSequence[0]
            scales.add(round(check_values(file.pixel_array, slope, mapping, images[k]), 3))
            check_window(file.WindowCenter, file.WindowWidth, images * max(scales))
            check_pixel_place(
                *(file.ImagePositionPatient, file.ImageOrientationPatient, file.PixelSpacing),
                *(made, k),
            )
            assert float(file.SliceThickness) == THICKNESS
            assert float(file.SpacingBetweenSlices) == pytest.approx(5.0)
            assert "posterior" in file.SeriesDescription and file.Manufacturer == "ACME"
            assert file.ImageType[0] == "DERIVED" and "not for diagnostic" in file.ImageComments
    assert len(uids) == 2 and len({study for study, _ in uids}) == len(scales) == 1


def test_enhanced(tmp_path, made):
    paths = write_dicom(made, tmp_path / "d")
    assert [path.name for path in paths] == ["mean.dcm", "std.dcm", "std_map.dcm"]
    files = [pydicom.dcmread(path) for path in paths[:2]]
    for file, images in zip(files, (made.reconstruction, made.reconstruction_std), strict=True):
        shared = file.SharedFunctionalGroupsSequence[0]
        slope = float(shared.PixelValueTransformationSequence[0].RescaleSlope)
        mapping = shared.RealWorldValueMappingSequence[0]
        assert file.NumberOfFrames == 3 and file.pixel_array.shape == images.shape
        scale = check_values(file.pixel_array, slope, mapping, images)
        window = shared.FrameVOILUTSequence[0]
        check_window(window.WindowCenter, window.WindowWidth, images * scale)
        assert float(shared.PixelMeasuresSequence[0].SpacingBetweenSlices) == pytest.approx(5.0)
        for k, frame in enumerate(file.PerFrameFunctionalGroupsSequence):
            check_pixel_place(
                frame.PlanePositionSequence[0].ImagePositionPatient,
                shared.PlaneOrientationSequence[0].ImageOrientationPatient,
                shared.PixelMeasuresSequence[0].PixelSpacing,
                made,
                k,
            )
    assert files[0].StudyInstanceUID == files[1].StudyInstanceUID
    assert files[0].SeriesInstanceUID != files[1].SeriesInstanceUID
    again = [path.read_bytes() for path in write_dicom(made, tmp_path / "e")]
    assert again == [path.read_bytes() for path in paths]


def test_the_parametric_map_holds_the_deviation_itself(tmp_path, made):
    path = write_dicom(made, tmp_path / "d")[2]
    file, mean = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "d" / "mean.dcm")
    shared = file.SharedFunctionalGroupsSequence[0]
    per_frame = file.PerFrameFunctionalGroupsSequence
    mapping = (
        shared if "RealWorldValueMappingSequence" in shared else per_frame[0]
    ).RealWorldValueMappingSequence[0]
    values = file.pixel_array * mapping.RealWorldValueSlope
    assert_equal_to_rounding(values, made.reconstruction_std, n_summed=2, dtype="float32")
    assert file.FrameOfReferenceUID == mean.FrameOfReferenceUID
    assert file.StudyInstanceUID == mean.StudyInstanceUID
    for k, frame in enumerate(per_frame):
        check_pixel_place(
            frame.PlanePositionSequence[0].ImagePositionPatient,
            shared.PlaneOrientationSequence[0].ImageOrientationPatient,
            shared.PixelMeasuresSequence[0].PixelSpacing,
            made,
            k,
        )


@pytest.mark.parametrize("classic", [True, False])
def test_what_the_header_knows_arrives(tmp_path, known, classic):
    for path in write_dicom(known, tmp_path / "d", classic):
        file = pydicom.dcmread(path)
        of_machine = {} if path.name == "std_map.dcm" else OF_THE_SEQUENCE
        for keyword, value in (KNOWN | of_machine).items():
            assert file[keyword].value == pytest.approx(value), (path.name, keyword)
        assert 501 <= file.SeriesNumber <= 503
        assert "8 posterior samples" in file.DerivationDescription
        assert "not for diagnostic use" in file.DerivationDescription
        if path.name != "std_map.dcm":
            (algorithm,) = file.DerivationAlgorithmSequence
            assert "Langevin" in algorithm.AlgorithmName and algorithm.AlgorithmVersion
    if classic:
        assert file.ScanningSequence == ["GR", "IR"]
        known.attributes["provenance"]["header"]["sequence"] = "TrueFisp"  # with a TI all the same
        file = pydicom.dcmread(write_dicom(known, tmp_path / "e", classic)[0])
        assert file.ScanningSequence == "GR" and file.InversionTime == 900
    else:
        mean = pydicom.dcmread(tmp_path / "d" / "mean.dcm")
        (shared,) = mean.SharedFunctionalGroupsSequence
        assert shared.MREchoSequence[0].EffectiveEchoTime == 5.5
        assert shared.FrameAnatomySequence[0].AnatomicRegionSequence[0].CodeMeaning == "Brain"


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools are not installed")
@pytest.mark.parametrize("classic", [True, False])
@pytest.mark.parametrize("name", ["made", "known"])
def test_dciodvfy_finds_no_error(tmp_path, request, name, classic):
    reconstruction = request.getfixturevalue(name)
    for path in write_dicom(reconstruction, tmp_path / "d", classic):
        done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, timeout=60)
        said = (done.stdout + done.stderr).splitlines()
        assert any(line.strip() in _KINDS for line in said), said
        assert [line for line in said if line.startswith("Error")] == []


_KINDS = ("MRImage", "EnhancedMRImage", "ParametricMap")


def test_a_header_that_makes_no_sense_is_left_out(tmp_path, known):
    known.attributes["provenance"]["study"] |= {
        "study_date": "2019-13-14",
        "study_time": "25:00:00",
        "patient_sex": "unknown",
        "frame_of_reference_uid": "no.uid",
        "flip_angles_degree": ["many"],
        "patient_name": "a\\b\nc" + "x" * 99,
        "series_number": "-3",
    }
    file = pydicom.dcmread(write_dicom(known, tmp_path / "d", classic=True)[0])
    assert (file.StudyDate, file.StudyTime, file.PatientSex) == ("", "", "")
    assert file.FrameOfReferenceUID.startswith("2.25.") and "FlipAngle" not in file
    assert str(file.PatientName).startswith("a b cx") and len(str(file.PatientName)) == 64
    assert file.SeriesNumber == 1


def test_scanner_image_gives_patient_and_study(tmp_path, made, known):
    image = write_dicom(known, tmp_path / "scanner", classic=True)[0]
    bare = copy.deepcopy(made)
    for part in ("study", "header"):
        bare.attributes["provenance"][part] = {}
    files = [pydicom.dcmread(path) for path in write_dicom(bare, tmp_path / "d", study=image)]
    for file in files:
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate"):
            assert file[keyword].value == KNOWN[keyword]
        assert file.FrameOfReferenceUID == KNOWN["FrameOfReferenceUID"]
    bare.attributes["provenance"]["geometry"]["is_nominal"] = True  # lies in no scanner's frame
    file = pydicom.dcmread(write_dicom(bare, tmp_path / "e", study=image)[0])
    assert file.FrameOfReferenceUID != KNOWN["FrameOfReferenceUID"]


@pytest.mark.parametrize("name", ["patient_id", "study_instance_uid", "frame_of_reference_uid"])
def test_scanner_image_of_another_examination_is_refused(tmp_path, known, name):
    image = write_dicom(known, tmp_path / "scanner", classic=True)[0]
    known.attributes["provenance"]["study"][name] = "1.2.3"
    with pytest.raises(ConfigurationError, match=r"0001\.dcm has the .* of the same examination"):
        write_dicom(known, tmp_path / "d", study=image)
    known.path.write_bytes(b"no DICOM")
    with pytest.raises(InputFileError, match="cannot be read as DICOM"):
        write_dicom(known, tmp_path / "d", study=known.path)
    assert not (tmp_path / "d").exists()


def test_slices_that_are_not_parallel(tmp_path, made):
    geometry = made.attributes["provenance"]["geometry"]
    geometry["readout_direction"] = np.roll(geometry["readout_direction"], 1, axis=1).tolist()
    geometry["readout_direction"][1] = [0.0, 0.0, 1.0]
    paths = write_dicom(made, tmp_path / "d")
    assert [path.name for path in paths] == ["mean.dcm", "std.dcm"]
    (frame, *_) = pydicom.dcmread(paths[0]).PerFrameFunctionalGroupsSequence
    assert "PlaneOrientationSequence" in frame


@pytest.mark.parametrize(("top", "exponent"), [(3e-5, 7), (500.0, 0), (2e9, 0)])
def test_one_power_of_ten_makes_windows_possible(tmp_path, made, top, exponent):
    made.reconstruction[:] *= top / made.reconstruction.max()
    made.reconstruction_std[:] *= 0.2 * top / made.reconstruction_std.max()
    for path in write_dicom(made, tmp_path / "d", classic=True)[::3]:
        file = pydicom.dcmread(path)
        mapping = file.RealWorldValueMappingSequence[0].RealWorldValueSlope
        assert np.log10(float(file.RescaleSlope) / mapping) == pytest.approx(exponent)
        assert float(file.WindowWidth) >= 1


def test_dicom_refuses_what_it_cannot_hold(tmp_path, made):
    made.reconstruction[0, 0, 0] = np.nan
    with pytest.raises(ConfigurationError, match="NaN"):
        write_dicom(made, tmp_path / "d")
    del made.attributes["provenance"]["geometry"]
    with pytest.raises(ConfigurationError, match="reconstruct the scan again"):
        write_dicom(made, tmp_path / "d")
    assert not (tmp_path / "d").exists()


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
@pytest.mark.parametrize("classic", [True, False])
def test_dcm2niix_finds_the_values_at_their_places(tmp_path, known, classic):
    nibabel = pytest.importorskip("nibabel")
    write_dicom(known, tmp_path / "d", classic)
    (tmp_path / "n").mkdir()
    command = ["dcm2niix", "-o", tmp_path / "n", "-f", "%s", tmp_path / "d"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    for name, images in (("501", known.reconstruction), ("502", known.reconstruction_std)):
        found = nibabel.load(tmp_path / "n" / f"{name}.nii")
        values = np.asarray(found.dataobj)
        scale = 10.0 ** np.round(np.log10(values.max() / images.max()))
        for k, i, j in PIXELS:
            at = np.linalg.inv(found.affine) @ [*(place(known, k, i, j) * [-1, -1, 1]), 1]
            voxel = np.rint(at[:3]).astype(int)
            assert np.abs(at[:3] - voxel).max() < 1e-3
            assert abs(values[tuple(voxel)] / scale - images[k, i, j]) <= images.max() / 65535
