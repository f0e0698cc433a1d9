"""What a laboratory sees of a trajectory: assays, their errors and limits."""

from ckin.assay.assays import ASSAYS as ASSAYS
from ckin.assay.assays import SIGMA_MEDIAN as SIGMA_MEDIAN
from ckin.assay.assays import SIGMA_SD_LOG as SIGMA_SD_LOG
from ckin.assay.assays import Assay as Assay
from ckin.assay.assays import bcell as bcell
from ckin.assay.assays import bcrabl as bcrabl
from ckin.assay.assays import ddpcr as ddpcr
from ckin.assay.assays import flow as flow
from ckin.assay.assays import ftc as ftc
from ckin.assay.assays import il6 as il6
from ckin.assay.assays import qpcr as qpcr
from ckin.assay.assays import wbc as wbc
from ckin.assay.errors import DEFAULT_NU as DEFAULT_NU
from ckin.assay.errors import ERRORS as ERRORS
from ckin.assay.errors import FLOOR as FLOOR
from ckin.assay.errors import NOT_COUNTED as NOT_COUNTED
from ckin.assay.errors import WELLS as WELLS
from ckin.assay.errors import AbstractError as AbstractError
from ckin.assay.errors import Counts as Counts
from ckin.assay.errors import Curves as Curves
from ckin.assay.errors import Normal as Normal
from ckin.assay.errors import Partitions as Partitions
from ckin.assay.errors import RawCt as RawCt
from ckin.assay.errors import Sampled as Sampled
from ckin.assay.errors import StudentT as StudentT
from ckin.assay.student_t import student_t_log_cdf as student_t_log_cdf
