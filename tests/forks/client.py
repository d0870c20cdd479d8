"""Python for checkouts of tests: has `-m MODULE ...` run by the server beside it, and ends as that process ends.

Anything else is run by the interpreter that executes this file.
"""

import marshal
import os
import signal
import socket
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

if sys.argv[1:2] != ["-m"]:
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
umask = os.umask(0)
os.umask(umask)
request = {
    "command": sys.argv,
    "folder": os.getcwd(),
    "umask": umask,
    "environment": dict(os.environ),
    "ignored": [int(each) for each in SIGNALS if signal.getsignal(each) == signal.SIG_IGN],
}
signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
server = socket.socket(socket.AF_UNIX)
server.connect(os.path.join(os.path.dirname(sys.argv[0]), "server"))
data = marshal.dumps(request)
socket.send_fds(server, [len(data).to_bytes(8, "big")], [0, 1, 2])
server.sendall(data)
answers = server.makefile("rb")
process = int(answers.readline())
for each in SIGNALS:
    if each not in request["ignored"]:
        signal.signal(each, lambda number, _: os.kill(process, number))
signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
status = int(answers.readline())
if os.WIFSIGNALED(status):
    if os.WTERMSIG(status) in SIGNALS:
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
    os.kill(os.getpid(), os.WTERMSIG(status))
os._exit(os.WEXITSTATUS(status))
