"""Words in the names of masks and of pictures made from others, in several languages.

Words are without accents and capitals, see `words_of`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

CERTAIN = (
    r"overlays?|overlayed|overlaid|preds?|predicted|predictions?|heatmaps?|hmaps?|probmaps?|grad-?cams?|thumbs?"
    r"|thumbnails?|previews?|visuali[sz]ations?|blended|superimposed"
    r"|u(?:e?)berlager\w*|vorhersagen?|superpos\w*|superpuest\w*|sovrappos\w*|sobrepos\w*|predicc?ion(?:es)?"
    r"|predic(?:ao|oes)|predizion[ei]|vorschau\w*|miniaturas?|miniaturen|vignettes?"
    r"|налож\w*|предсказ\w*|миниатюр\w*"
    r"|.*(?:叠加|疊加|预测|預測|予測|热图|热力图|缩略图|オーバーレイ|ヒートマップ|サムネイル|오버레이|예측|히트맵).*"
)
MADE_FROM = (
    rf"{CERTAIN}|blend|probs?|probabilit(?:y|ies)|heat|contours?|contoured|outlines?|boundar(?:y|ies)|edges?|vi[sz]"
    r"|composites?|figures?|colou?r(?:s|ed|map|maps)?|dist|distances?|[a-z]*cams?|saliency|attention|softmax|logits?"
    r"|uncertainty|entropy|error|diff|differences?|flows?|outputs?|results?|inference|detections?|annotated|drawn"
    r"|drawings?|marked|highlighted|rendered|rendering|fused|fusion|segmented|masked|compar(?:e|isons?)|montages?"
    r"|sidebyside|qc|bbox(?:es)?|box(?:es)?|[a-z]+maps?"
    r"|kontur(?:en)?|contornos?|contorni|umrisse?|annotiert\w*|annotees?|anotad[ao]s?|markiert\w*|ergebnis\w*"
    r"|контур\w*|результат\w*|.*(?:轮廓|輪郭|结果|結果|윤곽|결과).*"
)
"""Words for a picture made from an image or a mask; the certain ones are proof even without the original."""
MASK_WORD = (
    r"(?!un|no)[a-z]*masks?[a-z]*|(?!un|no)[a-z]*labels?[a-z]*|msks?|lbls?|seg|segm|segs|segmentations?"
    r"|annot|annotations?|annos?|gts?|groundtruth|truth|instances?"
    r"|maske[nr]?|maski|masques?|mascaras?|maschera|maschere|segmentierung(?:en)?|segmentaci(?:on|ones)|segmentacao"
    r"|segmentazion[ei]|anotaci(?:on|ones)|anotac(?:ao|oes)|annotazion[ei]|etikett(?:en)?|etiquetas?|etiquettes?"
    r"|etichett[ae]|etykiet[ay]|etiket(?:ler)?|маск[аи]|метк[аи]|разметк[аи]|сегментаци[яи]|аннотаци[яи]"
    r"|.*(?:掩码|掩碼|掩膜|掩模|遮罩|蒙版|标签|標籤|标注|標註|分割|マスク|ラベル|アノテーション|마스크|라벨|레이블).*"
)
STEMS = (
    "mask|masc|masq|label|msk|lbl|seg|ann?o|gt|truth|instance|eti[kqc]|etyk|over|uber|ueber|super|sov|sobre|pred|vorhers"
    "|heat|hmap|prob|thumb|preview|vorschau|mini|vign|vi[sz]|blend|cont[ou]|kont|outline|umris|boundar|edge|composit"
    "|figure|colou?r|dist|cam|salien|attention|softmax|logit|uncert|entropy|error|diff|flow|output|result|ergeb"
    "|infer|detect|draw|mark|high|render|fus|compar|montage|side|qc|box|map"
)
"""Beginnings or parts of such words in plain letters, to skip names without any."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+")
_ACCENTS = re.compile(r"[\u0300-\u036f]")


def plain(text: str) -> str:
    """A text in normalised form: composed characters, no capitals."""
    return unicodedata.normalize("NFC", text).lower()


def words_of(text: str) -> list[str]:
    """The words of a text in lower case and without accents; capitals begin a word."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))
    return [word.lower() for word in _WORD.findall(text)]


@lru_cache(maxsize=4096)
def is_word(word: str, pattern: str) -> bool:
    """Whether a word matches a pattern."""
    return re.fullmatch(pattern, word) is not None
