"""Coded concepts of the results, with the reason for each code that no DICOM context group contains.

Source: PS3.16 (the context group is named beside the code), SNOMED CT, IBSI, LOINC.
"""

from __future__ import annotations

from pydicom.sr.coding import Code

PRIVATE_SCHEME = "99CSVD"
PRIVATE_SCHEME_NAME = "csvd-node private codes"

WHITE_MATTER_HYPERINTENSITY = Code("110702", "DCM", "White Matter T2 Hyperintensity")
"""CID 7140."""

LACUNAR_INFARCT = Code("81037000", "SCT", "Lacunar infarct")
"""A lacune. No context group has it; it is in the morphologic abnormality value set of HL7 Europe."""

ACUTE_INFARCT = Code("55470003", "SCT", "Acute infarct")
"""A recent small subcortical infarct. No code says exactly that; this is the nearest morphology."""

ACUTE_LACUNAR_INFARCTION = Code("426107000", "SCT", "Acute lacunar infarction")
"""The nearest disorder to a recent small subcortical infarct; in no context group."""

HEMORRHAGE = Code("50960005", "SCT", "Hemorrhage")
"""CID 7151: the nearest morphology to a microbleed that the context group of property types has."""

SILENT_MICRO_HEMORRHAGE = Code("723857007", "SCT", "Silent micro-hemorrhage of brain")
"""A cerebral microbleed; in no context group. "Silent" says no more than that no image shows symptoms."""

MORPHOLOGICALLY_ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
"""CID 7150."""

BRAIN = Code("12738006", "SCT", "Brain")
"""CID 4."""

HEAD = Code("69536005", "SCT", "Head")
"""CID 4031, the regions of an Image Library, which knows no brain."""

CEREBRAL_WHITE_MATTER = Code("68523003", "SCT", "Cerebral White Matter")
"""CID 7140, 7153."""

PRESENT = Code("52101004", "SCT", "Present")
"""CID 240."""
ABSENT = Code("272519000", "SCT", "Absent")
"""CID 240."""
NOT_EVALUATED = Code("373121007", "SCT", "Not Evaluated")
"""CID 3703."""
YES = Code("373066001", "SCT", "Yes")
"""CID 231."""
NO = Code("373067005", "SCT", "No")
"""CID 231."""

SIZE_DESCRIPTOR = Code("112025", "DCM", "Size Descriptor")
"""CID 6118 has its values."""
SMALL = Code("255507004", "SCT", "Small")
MEDIUM = Code("255508009", "SCT", "Medium")
LARGE = Code("255509001", "SCT", "Large")

NUMBER_OF_LESIONS = Code("246206008", "SCT", "Number of lesions")
"""A SNOMED observable; in no context group of numbers."""
VOLUME = Code("118565006", "SCT", "Volume")
"""CID 7472, as the concept that methods refine."""
VOXEL_SUMMATION = Code("YEKZ", "IBSI", "Volume from Voxel Summation")
"""CID 7472: voxel count times voxel volume, the method of every volume here."""
MAXIMUM_3D_DIAMETER = Code("L0JK", "IBSI", "Maximum 3D Diameter of a Mesh")
"""CID 7470."""
DIAMETER = Code("81827009", "SCT", "Diameter")
"""CID 7470."""
AREA = Code("42798000", "SCT", "Area")
"""CID 7471."""
TOTAL = Code("255619001", "SCT", "Total")
"""CID 7464."""
MAXIMUM = Code("56851009", "SCT", "Maximum")
"""CID 7464."""
CENTER = Code("111010", "DCM", "Center")
"""CID 219: the centroid of a lesion."""

COUNTS = Code("{counts}", "UCUM", "counts")
MILLILITER = Code("ml", "UCUM", "ml")
MILLIMETER = Code("mm", "UCUM", "mm")
SQUARE_MILLIMETER = Code("mm2", "UCUM", "mm2")
PIXELS = Code("{pixels}", "UCUM", "pixels")

MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
"""CID 7021."""
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
"""TID 1500, row 12."""
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")
LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")
ENGLISH = Code("en-US", "RFC5646", "English (United States)")
OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")
DEVICE = Code("121007", "DCM", "Device")
DEVICE_OBSERVER_UID = Code("121012", "DCM", "Device Observer UID")
DEVICE_OBSERVER_NAME = Code("121013", "DCM", "Device Observer Name")
DEVICE_OBSERVER_MANUFACTURER = Code("121014", "DCM", "Device Observer Manufacturer")
DEVICE_OBSERVER_MODEL = Code("121015", "DCM", "Device Observer Model Name")
DEVICE_OBSERVER_SERIAL_NUMBER = Code("121016", "DCM", "Device Observer Serial Number")
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")
MR_BRAIN = Code("24590-2", "LN", "MR Brain")
"""CID 646. The baseline group of the template, CID 100, has no code for this procedure."""
MODALITY = Code("121139", "DCM", "Modality")
MAGNETIC_RESONANCE = Code("MR", "DCM", "Magnetic Resonance")
"""CID 29."""
TARGET_REGION = Code("123014", "DCM", "Target Region")
FRAME_OF_REFERENCE_UID = Code("112227", "DCM", "Frame of Reference UID")
PIXEL_DATA_ROWS = Code("110910", "DCM", "Pixel Data Rows")
PIXEL_DATA_COLUMNS = Code("110911", "DCM", "Pixel Data Columns")
SOURCE = Code("260753009", "SCT", "Source")
"""Concept name of the images in the library: the template leaves it open, viewers read one anyway."""
TRACKING_IDENTIFIER = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UNIQUE_IDENTIFIER = Code("112040", "DCM", "Tracking Unique Identifier")
FINDING_CATEGORY = Code("276214006", "SCT", "Finding category")
FINDING = Code("121071", "DCM", "Finding")
FINDING_SITE = Code("363698007", "SCT", "Finding Site")
REFERENCED_SEGMENT = Code("121191", "DCM", "Referenced Segment")
SOURCE_SERIES = Code("121232", "DCM", "Source series for segmentation")
MEASUREMENT_METHOD = Code("370129005", "SCT", "Measurement Method")
DERIVATION = Code("121401", "DCM", "Derivation")
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")
ALGORITHM_PARAMETERS = Code("111002", "DCM", "Algorithm Parameters")
ALGORITHM_FAMILY = Code("111000", "DCM", "Algorithm Family")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
"""CID 7162."""
COMMENT = Code("121106", "DCM", "Comment")
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")
"""CID 7005."""

SEGMENTATION = Code("113076", "DCM", "Segmentation")
"""CID 7203."""
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
"""CID 7202."""

ON_ONE_AXIAL_SLICE = Code("AXIAL", PRIVATE_SCHEME, "Largest on one axial slice")
"""Private: how a reader measures, as opposed to a diameter in 3D; no context group of methods has it."""
DIAMETER_IN_LIMITS = Code("IN_LIMITS", PRIVATE_SCHEME, "Diameter within limits of method")
"""Private: of the axial diameter; the limits are those of the method, not of a reference population."""
SUMMARY_PLACE = Code("SUMMARY_PLACE", PRIVATE_SCHEME, "Where the summary is shown, not a lesion")
"""Private: viewers show a group only where it has a point, also one that says that nothing was found."""
REVIEW_STATUS = Code("REVIEW", PRIVATE_SCHEME, "Review status")
"""Private: said in words for readers who do not see Verification Flag."""
SERIES_SELECTION = Code("SELECTION", PRIVATE_SCHEME, "Series selection")
"""Private: which Series was taken for what, and why."""
REGISTRATION_APPLIED = Code("REGISTRATION", PRIVATE_SCHEME, "Registration between Series")
"""Private: a sentence, with transform and quality; no template has a place for it."""
EXCLUSION_APPLIED = Code("EXCLUSION", PRIVATE_SCHEME, "Exclusion between segments")
"""Private: which segment was subtracted from which."""
NOT_ASSESSED = Code("NOT_ASSESSED", PRIVATE_SCHEME, "Not assessed")
"""Private: why no statement is made on a segment."""
SUPERSEDED = Code("SUPERSEDED", PRIVATE_SCHEME, "Superseded report")
"""Private: Predecessor Documents Sequence in words."""
REMARK = Code("REMARK", PRIVATE_SCHEME, "Remark")
"""Private: what else a reader must know."""
