"""Write the OpenAPI document anew: `python -m tests.openapi`."""

from tests.openapi.document import SNAPSHOT, document, written

SNAPSHOT.write_text(written(document()), encoding="utf-8")
