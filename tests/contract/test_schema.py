"""sql/schema.sql is the result of all migrations. `make schema` writes it."""

from pathlib import Path

from tools.schema import migrated_schema

ROOT = Path(__file__).parents[2]


def test_schema_file_equals_the_sum_of_the_migrations(tmp_path: Path) -> None:
    assert (ROOT / "sql/schema.sql").read_text() == migrated_schema(tmp_path)
