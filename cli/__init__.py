"""The command line: every command of `manage.py`, also installed as `cleanbook`."""
