import io

import matplotlib
import numpy as np
import pytest
from made_records import pictures, words

from subband import metrics, report
from subband.errors import DataError, ParamsError


def png(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=40)
    return stream.getvalue()


def draw(**changes):
    images, masks, maps = pictures()
    arguments = {"images": images, "masks": masks, "maps": maps, "scores": [2.0, 0.5, 0.9, 1.5], "threshold": 1.0}
    arguments |= {"names": ["test/cut/000", "test/good/000", "test/cut/001", "test/good/001"], "title": "tiles"}
    return report.gallery(**(arguments | changes))


def test_gallery_has_four_pictures_a_row_and_one_colour_scale():
    figure = draw()
    assert len(figure.axes) == 4 * 4 + 1
    maps = [axes.images[0] for axes in figure.axes[2:16:4]]
    assert {image.get_clim() for image in maps} == {maps[0].get_clim()}
    assert "one colour scale for all rows" in words(figure)
    assert png(figure).startswith(b"\x89PNG")


def test_gallery_says_the_decision_and_its_reason():
    text = words(draw())
    assert "score 2 > threshold 1" in text
    assert "score 0.5 ≤ threshold 1" in text
    assert text.count("DEFECT") == 2
    assert text.count("OK") == 2
    assert "missed" not in text
    assert "tiles" in text
    assert "test/good/001" in text


def test_score_at_the_threshold_is_ok():
    assert words(draw(scores=[1.0] * 4)).count("OK") == 4


def test_gallery_marks_wrong_decisions_where_labels_are_given():
    text = words(draw(labels=[1, 0, 1, 0]))
    assert text.count("(missed)") == 1
    assert text.count("(false alarm)") == 1


def test_gallery_tells_good_from_unknown_masks():
    masks = pictures()[1]
    text = words(draw(masks=[masks[0], masks[1], None, None]))
    assert text.count("no defect") == 1
    assert text.count("no mask given") == 2
    assert words(draw(masks=None)).count("no mask given") == 4
    outlined = [bool(axes.collections) for axes in draw(masks=[masks[0], masks[1], None, None]).axes[1:16:4]]
    assert outlined == [True, False, False, False]


def test_outline_encloses_a_defect_at_the_border():
    figure = draw(masks=np.ones((4, 40, 48), bool))
    (outline,) = figure.axes[1].collections
    (path,) = outline.get_paths()
    assert path.vertices.min(axis=0) == pytest.approx([-0.5, -0.5])
    assert path.vertices.max(axis=0) == pytest.approx([47.5, 39.5])
    assert figure.axes[1].get_xlim() == (-0.5, 47.5)


def test_gallery_draws_one_row_and_constant_maps():
    images, masks, _ = pictures(1)
    figure = report.gallery(images, masks, np.zeros((1, 40, 48), np.float32), [0.0], 0.0, ["a" * 200])
    assert len(figure.axes) == 5
    assert "a" * 200 not in words(figure)
    assert png(figure)


def test_gallery_refuses_arrays_that_do_not_fit():
    images, masks, maps = pictures()
    for changes, said in [
        ({"maps": maps[:, :-1]}, "masks"),
        ({"images": images.astype(np.float32)}, "uint8"),
        ({"images": images[:, :1]}, "uint8 of shape"),
        ({"names": ["a"]}, "names"),
        ({"scores": [1.0]}, "scores"),
        ({"masks": masks[:2]}, "2 masks for 4 maps"),
        ({"labels": [1]}, "1 labels for 4 maps"),
        ({"maps": np.where(masks, np.nan, maps)}, "NaN"),
        ({"maps": maps[:0], "masks": None}, "N >= 1"),
    ]:
        with pytest.raises(DataError, match=said):
            draw(**changes)


def test_curves_state_the_exact_areas():
    _, masks, maps = pictures()
    labels, scores = [1, 0, 1, 0, 0], [0.9, 0.2, 0.4, 0.5, 0.1]
    figure = report.roc_and_pro_curves(labels, scores, maps, masks, limit=0.2, title="tiles")
    text = words(figure)
    values = metrics.pixel_metrics(maps, masks, (0.2,))
    assert [axes.get_title() for axes in figure.axes] == ["image ROC", "pixel ROC", "PRO"]
    assert f"AUROC {metrics.auroc(labels, scores):.4f}" in text
    assert f"AUROC {values['pixel_auroc']:.4f}" in text
    assert f"AU-PRO@0.2 {values['au_pro_0.2']:.4f}" in text
    (shade,) = figure.axes[2].patches
    assert shade.get_extents().transformed(figure.axes[2].transData.inverted()).x1 == pytest.approx(0.2)
    assert png(figure)


def test_undefined_curves_say_why():
    _, masks, maps = pictures()
    figure = report.roc_and_pro_curves([1, 1], [0.1, 0.2], maps, np.zeros_like(masks))
    assert "no good sample" in words(figure)
    assert words(figure).count("no defect pixel") == 2
    assert words(report.roc_and_pro_curves([0, 1], [0.1, 0.2])).count("no masks") == 2
    assert png(figure)


def test_damaged_input_is_still_an_error():
    _, masks, maps = pictures()
    with pytest.raises(DataError, match="NaN"):
        report.roc_and_pro_curves([0, 1], [0.1, np.nan])
    with pytest.raises(ParamsError, match="limit"):
        report.roc_and_pro_curves([0, 1], [0.1, 0.2], maps, masks, limit=2.0)


def test_figures_leave_pyplot_and_its_settings_alone():
    before = dict(matplotlib.rcParams)
    png(draw())
    assert dict(matplotlib.rcParams) == before
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []
