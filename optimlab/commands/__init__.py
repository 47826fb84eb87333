"""The commands of the command line, a module for each or for a few that are alike.

Heavy imports are within the functions, so that --help answers at once.
"""
