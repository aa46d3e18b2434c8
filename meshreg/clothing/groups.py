"""Named groups of labels: bare skin against clothes, and the merged classes of DSR's losses."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from meshreg.clothing.labels import NUM_LABELS, UNKNOWN_LABEL, Label
from meshreg.errors import InputError


@dataclass(frozen=True)
class Grouping:
    """A partition of the labels into named groups."""

    names: tuple[str, ...]  # of the groups, in the order of their ids
    of_label: tuple[int, ...]  # for each label the id of its group

    def __len__(self) -> int:
        return len(self.names)

    def members(self, name: str) -> tuple[Label, ...]:
        """The labels of one group."""
        group = self.names.index(name)
        return tuple(label for label in Label if self.of_label[label] == group)

    @property
    def membership(self) -> Float[Tensor, "20 G"]:
        """1 where a label belongs to a group: label probabilities times this are the groups'."""
        return torch.nn.functional.one_hot(torch.tensor(self.of_label), len(self)).float()

    def group(self, labels: Integer[Tensor, "*shape"]) -> Integer[Tensor, "*shape"]:
        """The group of every label; ids that name no class, such as 254 and 255, become 255."""
        table = torch.full((256,), UNKNOWN_LABEL, device=labels.device)
        table[:NUM_LABELS] = table.new_tensor(self.of_label)
        return table[labels.long()].to(labels.dtype)


def _grouping(**groups: Iterable[Label]) -> Grouping:
    """Name all groups by their labels; each label must be in exactly one."""
    group_of = {label: i for i, members in enumerate(groups.values()) for label in members}
    assert sum(len(tuple(members)) for members in groups.values()) == NUM_LABELS == len(group_of)
    return Grouping(names=tuple(groups), of_label=tuple(group_of[label] for label in Label))


# Labels that show where the body's surface is, or nearly so. DSR's code takes shoes for skin and
# leaves bare legs out; the default is what its idea says: bare skin.
MINIMALLY_CLOTHED: dict[str, frozenset[Label]] = {
    "default": frozenset(
        {
            Label.FACE,
            Label.LEFT_ARM,
            Label.RIGHT_ARM,
            Label.LEFT_LEG,
            Label.RIGHT_LEG,
            Label.TORSO_SKIN,
        }
    ),
    "dsr_paper": frozenset(
        {Label.LEFT_SHOE, Label.RIGHT_SHOE, Label.LEFT_ARM, Label.RIGHT_ARM, Label.FACE}
    ),
}


def minimally_clothed(which: str | Iterable[Label] = "default") -> Grouping:
    """Background, minimally clothed and clothed: by a name, or by the labels that count as bare.

    Raises:
        InputError: if there is no set of that name, or the background is to count as bare.
    """
    if isinstance(which, str):
        if which not in MINIMALLY_CLOTHED:
            raise InputError(
                f"{which!r} is not a set of minimally clothed labels: choose from "
                f"{', '.join(MINIMALLY_CLOTHED)}, or give the labels themselves."
            )
        which = MINIMALLY_CLOTHED[which]
    bare = frozenset(Label(label) for label in which)
    if Label.BACKGROUND in bare:
        raise InputError("the background cannot count as minimally clothed: leave label 0 out.")
    return _grouping(
        background=(Label.BACKGROUND,),
        minimally_clothed=bare,
        clothed=frozenset(Label) - bare - {Label.BACKGROUND},
    )


# The eight merged classes of DSR-C (Dwivedi et al. 2021), in their order. They cover the whole
# person; class 10, there taken for jumpsuits, counts as upper clothes.
DSR_CLOTHING = _grouping(
    background=(Label.BACKGROUND,),
    head=(Label.HAT, Label.HAIR, Label.SUNGLASSES, Label.SCARF, Label.FACE),
    upper_clothes=(Label.GLOVE, Label.UPPER_CLOTHES, Label.DRESS, Label.COAT, Label.TORSO_SKIN),
    pants=(Label.SOCKS, Label.PANTS, Label.SKIRT),
    left_arm=(Label.LEFT_ARM,),
    right_arm=(Label.RIGHT_ARM,),
    left_leg=(Label.LEFT_LEG, Label.LEFT_SHOE),
    right_leg=(Label.RIGHT_LEG, Label.RIGHT_SHOE),
)
