"""Write Cityscapes' instances as COCO annotation files.

    python tools/cityscapes/convert_cityscapes_to_coco.py --dataset cityscapes_instance_only \
        --datadir DIR --outdir OUT

reads DIR/gtFine_trainvaltest/gtFine/{val,train,test} (or DIR/gtFine/...) and writes
OUT/instancesonly_filtered_gtFine_{val,train,test}.json: person, rider, car, truck, bus, train, motorcycle, bicycle.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from maskrcnn_benchmark.cli.group import readable_errors
from maskrcnn_benchmark.data.datasets.cityscapes_to_coco import CityscapesConverter
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.writers import write_json

SETS = ("val", "train", "test")
FOLDERS = ("gtFine_trainvaltest/gtFine", "gtFine")


def main() -> int:
    """Read the command line and convert each set that is there."""
    parser = argparse.ArgumentParser(description="Convert dataset")
    parser.add_argument("--dataset", help="cityscapes_instance_only", default=None)
    parser.add_argument("--outdir", help="output dir for json files", default=None)
    parser.add_argument("--datadir", help="data dir for annotations to be converted", default=None)
    if len(sys.argv) == 1:
        parser.print_help()
        return 1
    args = parser.parse_args()
    if args.dataset != "cityscapes_instance_only":
        # cocostuff was listed too; its conversion never ran.
        print(f"Dataset not supported: {args.dataset}")
        return 1
    if args.datadir is None or args.outdir is None:
        parser.error("--datadir and --outdir are needed")
    with readable_errors():
        convert(Path(args.datadir), Path(args.outdir))
    return 0


def convert(data_folder: Path, output_folder: Path) -> None:
    """Convert the sets in `data_folder`; ids run on from one to the next, categories are the same in all files."""
    root = next((data_folder / name for name in FOLDERS if (data_folder / name).is_dir()), None)
    if root is None:
        raise DatasetError(
            f"'{data_folder}': expected a folder {' or '.join(FOLDERS)} with Cityscapes' annotations; "
            "unpack gtFine_trainvaltest.zip there"
        )
    output_folder.mkdir(parents=True, exist_ok=True)
    converter = CityscapesConverter()
    contents = {}
    for name in SETS:
        if not (root / name).is_dir():
            print(f"No folder {root / name}: left out")
            continue
        print(f"Starting {name}")
        contents[name] = converter.convert(root / name)
    for name, content in contents.items():
        content["categories"] = converter.categories
        write_json(output_folder / f"instancesonly_filtered_gtFine_{name}.json", content)


if __name__ == "__main__":
    sys.exit(main())
