"""`python -m data.synthetic`: write synthetic faces as CSVs."""

import sys

from data.synthetic.faces import main

if __name__ == "__main__":
    sys.exit(main())
