"""URLs as people paste them, and statements by name."""

from pathlib import Path

import pytest

from shared.db import clean_url, load_statements


def test_what_asyncpg_would_send_to_the_server_is_taken_out() -> None:
    url, options = clean_url(
        "postgresql://u:p@ep-x-pooler.eu.neon.tech/db?sslmode=require&channel_binding=require&connect_timeout=7"
    )
    assert url == "postgresql://u:p@ep-x-pooler.eu.neon.tech/db?sslmode=require"
    assert options == {"timeout": 7.0, "statement_cache_size": 0}


def test_a_direct_url_keeps_its_prepared_statements() -> None:
    assert clean_url("postgresql://u:p@db:5432/x") == (
        "postgresql://u:p@db:5432/x",
        {"timeout": 5.0},
    )


def test_a_pooler_can_be_named_by_the_url() -> None:
    assert clean_url("postgresql://u@db/x?pgbouncer=true")[1]["statement_cache_size"] == 0


def test_a_statement_named_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sql").write_text("-- name: a\nselect 1\n-- name: a\nselect 2\n")
    with pytest.raises(ValueError, match="twice"):
        load_statements("x", tmp_path)
