"""Render conda's recipe as rattler-build would, which refuses what it does not know."""

import sys
from pathlib import Path

from rattler_build import Stage0Recipe

(path,) = sys.argv[1:]
(rendered,) = Stage0Recipe.from_yaml(Path(path).read_text("utf-8")).render()
package = rendered.recipe.package
print(f"{path}: {package.name} {package.version} renders")
