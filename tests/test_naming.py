"""One run, one folder, however a command line arrives at its settings; two runs, two folders."""

from collections.abc import Iterator
from itertools import combinations

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import open_dict
from test_conf import CONF

from hydra_plugins.ics_request import read_request
from ics.runs.naming import LONGEST, spelled


@pytest.fixture(scope="module", autouse=True)
def _config_files() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):  # once, because reading them all takes long
        yield


def name(*words: str) -> str:
    config = compose("train", list(words), return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    hydra = config.hydra
    with open_dict(config):
        del config["hydra"]
    return read_request(config, hydra).name


def test_the_committed_names() -> None:
    evidence = ("experiment=dln_evidence", "norm=batch", "optimizer.lr=1e-6", "seed=3")
    assert name(*evidence) == "dln_evidence/deep_linear_gaussian_batch_lr1e-06_data.target=normal/seed3"
    folder = ("experiment=vgg", "scale=cpu", "data=cifar10_folder", "norm=noisy_batch")
    assert name(*folder) == "vgg/cpu/vgg16_cifar10_folder_noisy_batch_lr0.1/seed0"


ONE_RUN = [
    [["optimizer.weight_decay=5e-4"], ["optimizer.weight_decay=0.0005"], ["optimizer.weight_decay=5.0e-04"]],
    [["augment=true"], ["augment=True"], ["++augment=TRUE"]],
    [["optimizer.lr=0.01"], ['optimizer.lr="0.01"'], ["optimizer.lr=${oc.decode:'0.01'}"]],
    [["norm=batch", "+norm.eps=1e-3"], ["norm=batch", '+norm.eps="0.001"']],
    [["+model.init={name: normal, std: 1}"], ['+model.init={name: normal, std: "1.0"}']],
    [["+measure.shift.penalty=0.5"], ['+measure.shift.penalty="0.5"']],
    [["norm=batch"], ["norm={name: batch}"], ["norm.name=batch"], ["norm=group", "~norm.groups", "norm.name=batch"]],
    [["model=vgg11", "model.width=1"], ["model=vgg16", "model.depth=11"], ["model=vgg11", "steps=9"]],
    [["measure=none"], ["~measure.shift"], ["measure=landscape", "~measure.landscape"]],
    [
        ["optimizer=adam"],
        ["optimizer.name=adam", "optimizer.lr=1e-3", "+optimizer={beta1: 0.9, beta2: 0.999}", "~optimizer.momentum"],
    ],
]  # fmt: skip


@pytest.mark.parametrize("spellings", ONE_RUN)
def test_one_run_has_one_folder(spellings: list[list[str]]) -> None:
    assert len({name(*words) for words in spellings}) == 1


def test_two_runs_have_two_folders() -> None:
    words = [
        "seed=1", "norm=batch", "norm=batch_by_hand", "model=vgg11", "data=mnist", "optimizer=adam",
        "optimizer.lr=1", "optimizer.momentum=0.9", "measure=none", "measure=all", "measure.shift.every=7",
        "measure.shift.layers=[1]", "measure.shift.layers=['1']", "batch_size=null", "augment=true", "device=cpu",
        "threads=2", "plugin=json", "deterministic=true", "deterministic=false", "scale=cpu", "experiment=vgg",
        "experiment=fingerprint", "data.root=a b", "data.root=a-b", "data.root='a_b=c'", "model.head=[]",
        "model.head=[64]", "data.limit=5",
    ]  # fmt: skip
    names = {word: name(word) for word in ["seed=0", *words]}
    for one, other in combinations(names, 2):
        assert names[one] != names[other], (one, other)
    assert max(len(part) for found in names.values() for part in found.split("/")) < 100


def test_a_name_too_long_for_a_folder_ends_in_a_hash() -> None:
    long = [f"+norm.option_{i}=value{i}" for i in range(30)]
    one, other = (name("norm=batch", *long, f"+norm.z={z}").split("/")[1] for z in (1, 2))
    assert len(one) == LONGEST == len(other)
    assert one[:-9] == other[:-9] and one != other


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(VALUES, VALUES)
def test_a_spelling_stands_for_one_value(one: object, other: object) -> None:
    same = repr(one) == repr(other) or (type(one) in (int, float) and type(other) in (int, float) and one == other)
    assert same or spelled(one) != spelled(other) or one == other
    assert set(spelled(one)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,+-")
