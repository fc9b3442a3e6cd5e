"""`iha-eval doctor`: what is installed, what would be chosen, and which known trap is set.

For: one table before the first run and with every bug report. A group of checks is a module here;
a check is a function from `Machine` to findings, and changes nothing.
Not for: mending anything; findings say how.
"""
