"""``python -m mri_alps`` is ``mri-alps``."""

from mri_alps.cli import main

if __name__ == "__main__":
    main()
