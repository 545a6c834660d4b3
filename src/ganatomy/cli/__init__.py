"""The command line: a module for each group of commands, each command a class of its arguments.

Heavy imports wait until a command runs, so that help is printed at once. To add a command, write
its class and add a line to COMMANDS in main.py.
"""
