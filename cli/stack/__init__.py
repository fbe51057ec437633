"""Everything Cleanbook needs, as child processes of one command: `manage.py up` and `make demo`.

stack.py      which processes, their ports, environment and readiness
processes.py  start, watch, restart and end child processes
valkey.py     the embedded state server and broker
child.py      what runs in a child just before it becomes the program
"""
