"""The default data of a simulator: fixed ids, names and credentials, which examples can quote."""

from __future__ import annotations

import uuid
from typing import Final

POOL_ID: Final = "6f3ad3a2-5b0e-4c7f-9a43-1d2f8c6e0b71"
POOL_NAME: Final = "Order to cash"
ERP_JOB_ID: Final = "0b8a1f2e-7c4d-4f6a-8e21-3a9d5c7b1e10"
CRM_JOB_ID: Final = "1c9b2a3f-8d5e-4a7b-9f32-4bae6d8c2f21"
MASTER_DATA_JOB_ID: Final = "2dac3b40-9e6f-4b8c-a043-5cbf7e9d3032"
MODEL_ID: Final = "a1b2c3d4-0001-4e5f-8a9b-0c1d2e3f4a5b"
SECOND_MODEL_ID: Final = "a1b2c3d4-0002-4e5f-8a9b-0c1d2e3f4a5b"

OTHER_POOL_ID: Final = "7a4be4b3-6c1f-4d80-8b54-2e3a9d7f1c82"
OTHER_POOL_NAME: Final = "Purchase to pay"
OTHER_JOB_ID: Final = "3ebd4c51-af70-4c9d-b154-6dc08fae4143"
OTHER_MODEL_ID: Final = "a1b2c3d4-0003-4e5f-8a9b-0c1d2e3f4a5b"

ERP_SOURCE_ID: Final = "d0000000-0001-4000-8000-000000000001"
CRM_SOURCE_ID: Final = "d0000000-0002-4000-8000-000000000002"

CLIENT_ID: Final = "refresh"
CLIENT_SECRET: Final = "local-client-secret"  # noqa: S105  a password of the simulator alone
APP_KEY: Final = "local-app-key"
API_KEY: Final = "local-api-key"
SCOPE: Final = "integration.data-pools"

# name, alias, data source: an alias that equals the name, one that differs, none at all,
# and one name that two data sources share.
TABLES: Final = (
    ("VBAK", "VBAK", ERP_SOURCE_ID),
    ("VBAP", "Sales order items", ERP_SOURCE_ID),
    ("VBEP", None, ERP_SOURCE_ID),
    ("KNA1", None, ERP_SOURCE_ID),
    ("KNA1", "Customers of the CRM", CRM_SOURCE_ID),
    ("LIKP", "Deliveries", ERP_SOURCE_ID),
)
SECOND_TABLES: Final = (("KNA1", None, ERP_SOURCE_ID), ("BSEG", "Accounting items", ERP_SOURCE_ID))
OTHER_TABLES: Final = (("EKKO", None, ERP_SOURCE_ID), ("EKPO", None, ERP_SOURCE_ID))

DEFAULT_JOB_SECONDS: Final = 3.0
DEFAULT_LOAD_SECONDS: Final = 2.0


def table_id(model_id: str, name: str, source_id: str) -> str:
    """Return the id of a table: the same in every simulator, different per model and data source."""
    return str(uuid.uuid5(uuid.UUID(model_id), f"{source_id}/{name}"))
