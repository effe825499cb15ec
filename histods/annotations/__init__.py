"""Annotations of other programs turned into masks.

```
shapes.py     what a reader returns: the shapes of each image, and what cannot be drawn
formats.py    the table of formats
geojson.py    GeoJSON, as QuPath exports it
coco.py       COCO
json_file.py  JSON of an unknown source, compressed or not
rasterise.py  polygons and run lengths to pixels
match.py      which image a file or an entry belongs to
classes.py    the label of each class
plan.py       what will be drawn into which image
draw.py       the work of a worker
mark.py  folder.py  the new dataset folder, finished or not
```
"""
