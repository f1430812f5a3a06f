"""Texts whose offsets are error-prone, with entities that the bundled version finds."""

TEXTS = {
    "emoji": (
        "😀 Lithium 👩\u200d⚕️ caused acute renal failure 😀 in rats given naloxone 🎉 and lithium."
    ),
    "breaks": (
        "Naloxone reverses\r\nclonidine.\r\n\r\nHypertension was treated with\rmethyldopa,\n"
        "acute renal\r\nfailure followed."
    ),
    "blanks": (
        "Acute  renal  failure   followed  lithium  carbonate .  Hypertension\tand\u00a0seizures  "
        "were  seen."
    ),
    "marks": (
        "Be\u0301hc\u0327et's disease and Sjo\u0308gren's syndrome after cafe\u0301ine and "
        "naloxone."
    ),
    "greek": (
        "β-carotene and α-methyldopa reduced TNF-α and 17β-estradiol in μg doses; Ω-3 fatty acids "
        "cured hypertension."
    ),
    "astral": (
        "𝛼-methyldopa and 𝛽-endorphin with 𝐧aloxone caused 𝛾-hypertension; 𝛼𝛽𝛾 lithium and "
        "5-𝛼-dihydrotestosterone."
    ),
    "markup": (
        '<b>naloxone</b> & clonidine &amp; lithium < 5 > 3; &lt;hypertension&gt; "seizures" '
        "'tremor' \\n {{naloxone}} $lithium\u2028naloxone"
    ),
    "edges": "  \r\n naloxone \r\n\r\n ",
}
