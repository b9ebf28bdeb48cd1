from tests.conftest import alembic


def test_the_migrations_make_what_the_models_say_and_go_back(database_url: str) -> None:
    alembic("check", database_url)
    alembic("downgrade", database_url, "app@base")  # ours alone: the accounts stay
    alembic("upgrade", database_url, "heads")
    alembic("check", database_url)
