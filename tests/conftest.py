"""Names the fixture plugins, nothing else."""

pytest_plugins = [
    "tests.fixtures.servers",
    "tests.fixtures.database",
    "tests.fixtures.broker",
    "tests.fixtures.system",
    "tests.fixtures.processors",
    "tests.fixtures.moves",
    "tests.fixtures.summary",
]
