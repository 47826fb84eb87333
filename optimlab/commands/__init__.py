"""The commands of the command line, one module for each command or a few related ones.

Heavy imports are within the functions, so that --help answers at once.
"""
