"""Imports every module of a package: import_all.py FOLDER PACKAGE."""
import importlib
import pkgutil
import sys

folder, name = sys.argv[1:]
sys.path.insert(0, folder)
package = importlib.import_module(name)
modules = [module.name for module in pkgutil.walk_packages(package.__path__, name + ".")]
for module in modules:
    importlib.import_module(module)
assert len(modules) > 30, f"only {len(modules)} modules"
