"""What a database's URL may set: nothing that leads to another host, another file of settings, or files of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy

from connrunner.connectors.sql import alchemy, postgres
from connrunner.connectors.sql.database_url import address_of
from connrunner.errors import RunError
from connrunner.text.database_urls import find_flaw, parse_database_url

SOUND = [
    *("postgresql://u@db.example.com/d", "postgresql:///d?host=/run/postgresql", "postgresql://h:5432,i/d?sslmode=verify-full"),
    *("postgres://u@h/d?application_name=x&options=-c%20a%3Db", "postgresql+psycopg2://u@[::1]:5432/d?sslmode=disable"),
    *("mysql+pymysql://u@db.example.com:3306/d?charset=utf8mb4", "mariadb+pymysql:///d?unix_socket=/run/mysqld.sock"),
    *("mysql+mysqldb://u@127.0.0.1/d", "MYSQL+PYMYSQL://h/d", "mysql+pymysql://h/d"),
    *("mssql+pyodbc://u@localhost:1433/d?driver=ODBC+Driver+18+for+SQL+Server&Encrypt=yes", "mssql+pymssql://u@127.0.0.1/d"),
    *("oracle+oracledb://u@localhost:1521/?service_name=XEPDB1", "oracle+oracledb://u@[::1]/d"),
    *("sqlite:///shop.db", "sqlite:////srv/shop.db?timeout=30"),
]  # fmt: skip
NOT_SOUND = [
    # url                                                                          code
    ("postgresql://u@h/d?service=other",                                           "bad-url"),
    ("postgresql://u@h/d?servicefile=/etc/x",                                      "bad-url"),
    ("postgresql://u@localhost/d?hostaddr=10.0.0.1",                               "bad-url"),
    ("postgresql://u@h/d?passfile=/etc/shadow",                                    "bad-url"),
    ("postgresql://u@h/d?SSLMODE=disable",                                         "bad-url"),
    ("postgresql://u@h/d?sslmode=disable",                                         "bad-url"),
    ("postgresql://u@localhost/d?host=h&sslmode=prefer",                           "bad-url"),
    ("postgresql://localhost,h/d?sslmode=disable",                                 "bad-url"),
    ("postgresql://u@h/d?sslmode=verify-ca",                                       "bad-url"),
    ("mysql+pymysql://localhost/d?host=db.example.com",                            "bad-url"),
    ("mysql+pymysql://localhost/d?HOST=db.example.com",                            "bad-url"),
    ("mysql+pymysql://h/d?local_infile=1",                                         "bad-url"),
    ("mysql+pymysql://h/d?read_default_file=/home/u/.my.cnf",                      "bad-url"),
    ("mysql+pymysql://h/d?ssl_disabled=1",                                         "bad-url"),
    ("mysql+pymysql://h/d?ssl_verify_cert=false",                                  "bad-url"),
    ("mysql+pymysql://h/d?init_command=SET+x",                                     "bad-url"),
    ("mysql+pymysql://h/d?unix_socket=/tmp/s",                                     "bad-url"),
    ("mysql+pymysql://localhost/d?unix_socket=relative",                           "bad-url"),
    ("mysql+mysqldb://db.example.com/d",                                           "unverified"),
    ("mysql://db.example.com/d",                                                   "unverified"),
    ("mariadb+mysqlconnector://localhost/d?option_files=/tmp/x",                   "bad-url"),
    ("mssql+pyodbc:///?odbc_connect=Server%3Ddb.example.com",                      "bad-url"),
    ("mssql+pyodbc:///?ODBC_Connect=Server%3Ddb.example.com",                      "bad-url"),
    ("mssql+pyodbc://localhost/d?driver=x%7D%3BServer%3Ddb.example.com",           "bad-url"),
    ("mssql+pyodbc://localhost/d?driver=/tmp/evil.so",                             "bad-url"),
    ("mssql+pyodbc://localhost/d?Server=db.example.com",                           "bad-url"),
    ("mssql+pyodbc://localhost/d?Addr=db.example.com&driver=x",                    "bad-url"),
    ("mssql+pyodbc://localhost/d?FileDSN=/tmp/x",                                  "bad-url"),
    ("mssql+pyodbc://localhost",                                                   "bad-url"),
    ("mssql+pyodbc://u@some_dsn",                                                  "bad-url"),
    ("mssql+aioodbc:///?odbc_connect=x",                                           "bad-url"),
    ("mysql+pyodbc:///?odbc_connect=x",                                            "bad-url"),
    ("mssql+pymssql://localhost/d?server=db.example.com",                          "bad-url"),
    ("mssql+pymssql://127.evil.example/d",                                         "unverified"),
    ("oracle+oracledb://localhost/?dsn=x",                                         "bad-url"),
    ("oracle+oracledb://localhost/?config_dir=/tmp",                               "bad-url"),
    ("oracle+oracledb://localhost/x))(ADDRESS=(HOST=db.example.com)",              "bad-url"),
    ("oracle+oracledb://localhost/?service_name=x))(ADDRESS=(HOST=h)",             "bad-url"),
    ("sqlite:///shop.db?uri=true",                                                 "bad-url"),
    ("sqlite:///file:/etc/x?mode=ro&uri=true",                                     "bad-url"),
    ("sqlite+pysqlcipher:///shop.db?cipher=x",                                     "bad-url"),
    ("duckdb:///x.db?config=1",                                                    "bad-url"),
    ("snowflake://u@account/d",                                                    "unverified"),
]  # fmt: skip


@pytest.mark.parametrize("url", SOUND)
def test_a_sound_url(url: str, tmp_path: Path) -> None:
    found = parse_database_url(url)
    assert found is not None
    assert find_flaw(found) is None
    address = address_of({"url": url}, tmp_path)
    if address.is_postgres:
        postgres._parameters(address)
    else:
        alchemy._url(address)


@pytest.mark.parametrize(("url", "code"), NOT_SOUND)
def test_a_url_that_goes_round_the_rules(url: str, code: str, tmp_path: Path) -> None:
    """By our own reading, before any driver is looked for, and by that of the library that is asked in the end."""
    with pytest.raises(RunError) as error:
        address_of({"url": url}, tmp_path)
    assert error.value.code == code
    if url.startswith("postgres"):
        return
    with pytest.raises(RunError) as error:
        alchemy._check(sqlalchemy.make_url(url))
    assert error.value.code == code


@pytest.mark.parametrize("url", [url for url, _ in NOT_SOUND if url.startswith("postgres")])
def test_libpq_reads_the_same(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = address_of({"url": "postgresql://h/d"}, tmp_path)
    object.__setattr__(address, "url", url)
    with pytest.raises(RunError) as error:
        postgres._parameters(address)
    assert error.value.code == "bad-url"
