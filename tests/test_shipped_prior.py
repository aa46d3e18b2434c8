"""The semantic prior that comes with meshreg says what one would expect of dressed people."""

import torch

from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.clothing.counting import mirror_of, mirrored
from meshreg.clothing.groups import DSR_CLOTHING, minimally_clothed
from meshreg.clothing.labels import Label
from meshreg.clothing.prior import SEMANTIC_PRIOR_PATH, load_semantic_prior


def test_the_shipped_prior_fits_the_body_and_common_sense() -> None:
    body = load_body()
    prior = load_semantic_prior(body=body)
    assert SEMANTIC_PRIOR_PATH.stat().st_size < 400_000
    assert "prior learn: 5000 views" in prior.recipe
    torch.testing.assert_close(prior.probs.sum(1), torch.ones(7000))
    assert (prior.probs[:, Label.BACKGROUND] == 0).all()
    part = torch.from_numpy(body.data.vertex_part).long()
    skin = prior.group(minimally_clothed())[:, 1]
    bare = {
        name: float(skin[part == joint].mean())
        for joint, name in enumerate(SKELETONS["smpl24"].joints)
    }
    assert min(bare["left_hand"], bare["left_wrist"]) > 0.8
    assert bare["left_hand"] > bare["left_elbow"] > bare["left_shoulder"] > bare["spine2"]
    assert bare["head"] > 0.5 and max(bare["pelvis"], bare["spine1"]) < 0.1
    classes = DSR_CLOTHING.names
    likeliest = prior.group(DSR_CLOTHING).argmax(1)
    left = torch.tensor(SKELETONS["smpl24"].index("left_hand", "left_wrist"))
    assert (likeliest[torch.isin(part, left)] == classes.index("left_arm")).all()


def test_the_shipped_prior_is_its_own_mirror_image() -> None:
    body = load_body()
    probs = load_semantic_prior(body=body).probs
    torch.testing.assert_close(mirrored(probs, mirror_of(body)), probs, atol=2e-3, rtol=0)
