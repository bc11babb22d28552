"""``python -m mri_alps`` is ``mri-alps``."""

from mri_alps.cli.app import main

if __name__ == "__main__":
    main()
