"""Images with masks in folders and lists: layouts, presets, pairing, and what is refused."""

import pytest

from subband.data import fingerprint, fingerprint_dataset, fingerprint_images, open_dataset, split_category
from subband.data.segmentation.pairs import FOREGROUND, PRESETS
from subband.errors import DataError
from tests.data.conftest import build_pairs, settle, write_mask, write_picture


def one_set(root, images="images", masks="gt"):
    build_pairs(root / "train" / images, root / "train" / masks, 4)
    build_pairs(root / "test" / images, root / "test" / masks, 2, first=10)
    return root


def several_sets(root, images="imgs", masks="gt", sets=("CAMO", "NC4K")):
    build_pairs(root / "train" / images, root / "train" / masks, 4)
    for number, name in enumerate(sets):
        build_pairs(root / "test" / name / images, root / "test" / name / masks, 2 + number)
    return root


def names(samples):
    return [sample.name for sample in samples]


@pytest.mark.parametrize("preset", [name for name, layout in PRESETS.items() if not layout.several_sets])
def test_presets_of_one_test_set(tmp_path, preset):
    one_set(tmp_path / "data")
    dataset = open_dataset(f"pairs:{tmp_path / 'data'}?preset={preset}")
    assert dataset.categories == (preset,)
    category = dataset.category(preset)
    assert names(category.train) == ["train/000", "train/001", "train/002", "train/003"]
    assert names(category.test) == ["test/010", "test/011"]
    sample = category.test[1]
    assert (sample.image.path.name, sample.mask.path.name) == ("011.jpg", "011.png")
    assert (sample.label, sample.defect, sample.split) == (1, FOREGROUND, "test")


@pytest.mark.parametrize("preset", [name for name, layout in PRESETS.items() if layout.several_sets])
def test_presets_of_several_test_sets_share_what_is_learnt_from(tmp_path, preset):
    dataset = open_dataset(f"pairs:{several_sets(tmp_path)}?preset={preset}")
    assert dataset.categories == ("CAMO", "NC4K")
    first, second = (dataset.category(name) for name in dataset.categories)
    assert first.train == second.train
    assert (len(first.train), len(first.test), len(second.test)) == (4, 2, 3)
    assert names(first.test) == ["test/000", "test/001"]


@pytest.mark.parametrize(("images", "masks"), [("images", "gt"), ("imgs", "masks"), ("Imgs", "GT")])
def test_layouts_are_recognised_without_a_preset(tmp_path, images, masks):
    one = open_dataset(f"pairs:{one_set(tmp_path / 'steel', images, masks)}")
    assert one.categories == ("steel",)
    assert len(one.category("steel").train) == 4
    assert one.name == "pairs-steel"
    several = open_dataset(f"pairs:{several_sets(tmp_path / 'objects', images, masks)}")
    assert several.categories == ("CAMO", "NC4K")


def test_a_single_folder_is_for_training_unless_it_is_said_to_be_for_testing(tmp_path):
    build_pairs(tmp_path / "cracks" / "images", tmp_path / "cracks" / "masks")
    uri = f"pairs:{tmp_path / 'cracks'}"
    (train, test) = (open_dataset(f"{uri}?split={split}").category("cracks") for split in ("train", "test"))
    assert open_dataset(uri).category("cracks") == train
    assert (len(train.train), len(train.test), len(test.train), len(test.test)) == (3, 0, 0, 3)
    assert {sample.split for sample in test.test} == {"test"}
    with pytest.raises(DataError, match="split is 'tests'; a single folder of pairs is train or test"):
        open_dataset(f"{uri}?split=tests")


def test_half_a_data_set_is_enough_where_only_half_is_needed(tmp_path):
    build_pairs(tmp_path / "a" / "test" / "images", tmp_path / "a" / "test" / "gt")
    build_pairs(tmp_path / "b" / "train" / "images", tmp_path / "b" / "train" / "gt")
    only_test = open_dataset(f"pairs:{tmp_path / 'a'}?preset=crackseg9k").category("crackseg9k")
    only_train = open_dataset(f"pairs:{tmp_path / 'b'}").category("b")
    assert (len(only_test.train), len(only_test.test)) == (0, 3)
    assert (len(only_train.train), len(only_train.test)) == (3, 0)


def test_the_uri_opens_the_same_again(tmp_path):
    several_sets(tmp_path / "objects")
    dataset = open_dataset(f"pairs:{tmp_path / 'objects'}?masks=threshold&preset=cod&categories=NC4K")
    assert dataset.categories == ("NC4K",)
    again = open_dataset(dataset.uri)
    assert again.uri == dataset.uri
    assert again.category("NC4K") == dataset.category("NC4K")
    assert again.category("NC4K").test[0].mask.rule == "threshold"


def test_lists_name_pairs_that_need_not_have_the_same_stem(tmp_path):
    for index in range(3):
        write_picture(tmp_path / "my images" / f"{index}.jpg")
        write_mask(tmp_path / "labels" / f"{index}_mask.png")
    (tmp_path / "learn.txt").write_text(
        "# image and mask\nmy images/0.jpg\tlabels/0_mask.png\n\nmy images/1.jpg\tlabels/1_mask.png\n"
    )
    (tmp_path / "easy.txt").write_text("my images/2.jpg\tlabels/2_mask.png")
    dataset = open_dataset(f"pairs:{tmp_path}?train_list=learn.txt&test_list=easy.txt,learn.txt")
    assert dataset.categories == ("easy", "learn")
    category = dataset.category("easy")
    assert names(category.train) == ["train/my images/0", "train/my images/1"]
    assert category.test[0].mask.path == tmp_path / "labels" / "2_mask.png"
    assert open_dataset(dataset.uri).category("easy") == category


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png\n", r"all\.txt, line 1: expected the paths of an image and of its mask .* found 'a\.png'"),
        ("a.png m.png x.png", "line 1: expected the paths"),
        ("a.png m.png\na.png m.png\n", r"line 2: a\.png is the second image called a"),
        ("# nothing\n", "names no pair"),
        ("a.png missing.png", r"line 1: .*missing\.png does not exist"),
        ("a.png notes.txt", r"notes\.txt is no image \(legal suffixes: \.bmp"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path, text, message):
    write_picture(tmp_path / "a.png")
    write_mask(tmp_path / "m.png")
    (tmp_path / "all.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        open_dataset(f"pairs:{tmp_path}?train_list=all.txt").category(tmp_path.name)


def test_orphans_are_named(tmp_path):
    one_set(tmp_path)
    (tmp_path / "test" / "gt" / "010.png").unlink()
    write_mask(tmp_path / "test" / "gt" / "099.png")
    dataset = open_dataset(f"pairs:{tmp_path}?preset=esdis-sod")
    with pytest.raises(DataError, match=r"010\.jpg is without a mask .*; in .*099\.png is without an image"):
        dataset.category("esdis-sod")


def test_many_orphans_are_counted(tmp_path):
    build_pairs(tmp_path / "images", tmp_path / "gt")
    for index in range(20, 28):
        write_picture(tmp_path / "images" / f"{index}.png")
    with pytest.raises(DataError, match=r"20\.png, .*24\.png and 3 more are without a mask of the same name in .*gt"):
        open_dataset(f"pairs:{tmp_path}").category(tmp_path.name)


@pytest.mark.parametrize("folder", ["images", "gt"])
def test_two_files_of_one_stem(tmp_path, folder):
    build_pairs(tmp_path / "images", tmp_path / "gt", suffix=".png")
    write_picture(tmp_path / folder / "001.bmp")
    with pytest.raises(DataError, match=r"001\.bmp and 001\.png have the same name but for the suffix"):
        open_dataset(f"pairs:{tmp_path}").category(tmp_path.name)


def test_nothing_is_decoded_to_list(tmp_path):
    for folder in ("images", "gt"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(b"no image")
    (sample,) = open_dataset(f"pairs:{tmp_path}").category(tmp_path.name).train
    with pytest.raises(DataError, match=r"images.a\.png is not an image"):
        sample.image.open()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?preset=crackseg", "'crackseg' is not a preset; did you mean 'crackseg9k'"),
        ("?masks=binery", "'binery' is not a rule for masks; did you mean 'binary'"),
        ("?mask=grey", "'mask' is not an option; did you mean 'masks'"),
        ("?split=test", "has folders train and test; the option split is for a single folder"),
        ("?preset=sod", r"train.gt has no imgs beside it; expected .*train.imgs"),
        ("?train_list=a.txt&preset=sod", "train_list names the pairs itself; leave preset out"),
        ("?test_list=a.txt,sub/a.txt", "two lists of test_list have the same name"),
    ],
)
def test_options_that_are_refused(tmp_path, query, message):
    with pytest.raises(DataError, match=message):
        open_dataset(f"pairs:{one_set(tmp_path)}{query}")


def test_folders_without_pairs_are_told_what_is_expected(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no pairs; expected .*train.images with .*train.gt, and .*<set>"):
        open_dataset(f"pairs:{tmp_path / 'empty'}")
    (tmp_path / "lone" / "train" / "images").mkdir(parents=True)
    with pytest.raises(DataError, match=r"images has no gt or masks beside it; expected .*train.gt"):
        open_dataset(f"pairs:{tmp_path / 'lone'}")
    one_set(tmp_path / "two")
    (tmp_path / "two" / "test" / "masks").mkdir()
    with pytest.raises(DataError, match="holds both gt and masks"):
        open_dataset(f"pairs:{tmp_path / 'two'}")
    one_set(several_sets(tmp_path / "mixed", images="images"))
    with pytest.raises(DataError, match="holds pairs itself and in the test set CAMO"):
        open_dataset(f"pairs:{tmp_path / 'mixed'}")
    (tmp_path / "bare" / "images").mkdir(parents=True)
    (tmp_path / "bare" / "gt").mkdir()
    with pytest.raises(DataError, match="hold no images"):
        open_dataset(f"pairs:{tmp_path / 'bare'}").category("bare")


def test_a_bare_folder_of_pairs_is_told_its_scheme(tmp_path):
    with pytest.raises(DataError, match="say which layout it has: pairs:"):
        open_dataset(str(one_set(tmp_path)))


def test_fingerprints_know_masks_and_their_rule_by_content(tmp_path):
    root = one_set(tmp_path / "a")
    settle(*root.rglob("*.png"), *root.rglob("*.jpg"))
    uri = f"pairs:{root}?preset=esdis-sod"
    dataset = open_dataset(uri)
    samples = dataset.category("esdis-sod").train
    assert fingerprint_dataset(dataset) == fingerprint_dataset(
        open_dataset(f"pairs:{one_set(tmp_path / 'b')}?preset=esdis-sod")
    )
    assert fingerprint(samples, include_labels=True) == fingerprint(samples, include_labels=True)
    assert fingerprint(samples, include_labels=False) == fingerprint_images([sample.image for sample in samples])
    soft = open_dataset(f"{uri}&masks=grey").category("esdis-sod").train
    assert fingerprint(soft, include_labels=True) != fingerprint(samples, include_labels=True)
    assert soft[0].mask.digest() != samples[0].mask.digest()
    write_mask(root / "train" / "gt" / "001.png", value=0)
    assert fingerprint(samples, include_labels=True) != fingerprint(soft, include_labels=True)
    assert fingerprint_dataset(dataset) != fingerprint_dataset(open_dataset(f"pairs:{tmp_path / 'b'}?preset=esdis-sod"))


def test_methods_that_learn_from_good_pictures_alone_refuse_them(tmp_path):
    category = open_dataset(f"pairs:{one_set(tmp_path)}?preset=zju-leaper").category("zju-leaper")
    for selection in ("test", "holdout", "synthetic"):
        with pytest.raises(DataError, match=r"has defects among its training images \(train/000\)"):
            split_category(category, selection, 0)
