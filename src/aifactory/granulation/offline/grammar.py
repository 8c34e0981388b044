"""Small closed word lists of English that tell a step from a name."""

import re

from aifactory.granulation.offline.wordlists import word_set

IMPERATIVES = word_set("""
    add adjust agree allow apply arrange ask assemble attach avoid bake balance begin boil bring brush
    build calculate call carry change check choose chop clean clear click close coat collect combine
    compare complete confirm connect consider continue convert cook cool copy count cover create cut
    decide define delete describe design determine discard disconnect divide download draft drag drain
    draw drop dry edit empty enable ensure enter estimate examine feed fetch fill filter find finish fit
    fix flip fold follow form gather get give go grease grind hang heat hold identify improve increase
    insert inspect install invite join keep knead label lay leave let lift list load locate look lower
    make mark match measure melt mix move multiply note observe open order organise organize pack paint
    peel pick place plan plant plug pour prepare press print proof protect prove provide pull push put
    raise read record reduce refresh release remove repeat replace report rest restart return review rinse
    roll rotate rub run save scale score scrape seal search select send separate serve set shake shape
    share show sift simmer sketch slice slide soak sort spread sprinkle start state stir stop store
    stretch submit subtract switch take tap taste tell test think throw tie tighten touch transfer trim
    turn try type unplug update use verify wait warm wash watch weigh whisk wipe work wrap write
    """)
# Verbs that don't open a command but often stand behind a noun.
OTHER_VERBS = word_set("""
    act affect appear arise arrive attract become begin behave belong bend bind blow break burn burst buy
    cause cling collide come contain cost crack deliver depend develop die differ dig dissolve drive eat
    exceed exist expand explain fall feel fight flow fly force freeze gain grow happen harden hear help
    hit hurt include indicate involve kill kiss knock lack last lead lean lend lie live lose love mean
    need obtain occur offer own pass pay perform play possess prefer prevent produce prove pump quote
    reach react refer reflect relate rely remain repel represent require resist respond result rise say
    see seem sell shine shrink sink sit sleep smell speak spend spring squeeze stand stay stick strengthen
    strike suffer suggest supply support survive swell swim teach tear tend travel vanish vary weaken
    weigh win
    """)
# Words in -ing that are names of things, not of doings.
THINGS_IN_ING = word_set("""
    building meaning spring string ring king thing morning evening ceiling wing sibling bearing clothing
    being feeling lightning pudding sterling wedding painting drawing housing
    """)
QUESTION_WORDS = word_set("how why what when where which who whose whether")
PREPOSITIONS = word_set("""
    from at in on into onto after before during towards toward inside outside beyond under over across
    with without by
    """)
SMALL_WORDS = word_set("""
    a an the and or but nor of in on at to for from by with as into onto per vs via over under between
    """)
# How a text says that something is worked out.
FORMULA = re.compile(
    r"\b(?:divided by|multiplied by|times (?:the|one)|minus|plus the|percentage of|as a percentage|ratio of"
    r"|equals|the sum of|subtract(?:ed|ing)?)\b|="
)
