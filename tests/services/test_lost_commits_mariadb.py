"""C17, C25, F3: the reply to a COMMIT is lost, on MariaDB."""

from tests.contract import lost_commits
from tests.services.servers import MYSQL


class TestLostCommits(lost_commits.LostCommits):
    """Between the program and the server there is a wire."""

    server = MYSQL
