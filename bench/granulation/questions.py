"""Sound single-choice questions of general knowledge, written by hand: what flaws are planted into."""

# The stem, the key, then the wrong options; the place of the key is dealt elsewhere.
QUESTIONS: tuple[tuple[str, ...], ...] = (
    ("Which gas do green plants take in to build sugar?", "Carbon dioxide", "Nitrogen", "Hydrogen"),
    ("Which organ filters waste out of the blood?", "The kidney", "The spleen", "The bladder"),
    ("What makes the tides rise and fall?", "The pull of the Moon", "The heat of the Sun", "The wind at sea"),
    ("Which layer of the Earth is liquid?", "The outer core", "The inner core", "The upper crust"),
    ("Which metal conducts electricity best?", "Silver", "Lead", "Iron", "Tin"),
    ("Water at sea level boils at", "100 °C", "110 °C", "120 °C"),
    ("How many legs does a spider have?", "8", "10", "12"),
    ("Which planet has the shortest year?", "Mercury", "Saturn", "Neptune"),
    ("What does a barometer measure?", "Air pressure", "Air humidity", "Wind speed"),
    ("Which process turns a liquid into a gas?", "Evaporation", "Condensation", "Sublimation"),
    ("Sound travels fastest through", "steel", "water", "air"),
    ("Which vitamin does skin make in sunlight?", "Vitamin D", "Vitamin C", "Vitamin K"),
    ("Which blood cells carry oxygen?", "Red cells", "White cells", "Platelet cells"),
    ("Where in a cell is the genetic material kept?", "In the nucleus", "In the membrane", "In the ribosome"),
    ("Which force slows a sliding box?", "Friction", "Gravity", "Magnetism"),
    (
        "Which ocean lies between Africa and Australia?",
        "The Indian Ocean",
        "The Arctic Ocean",
        "The Pacific Ocean",
    ),
    ("Which river flows through Vienna?", "The Danube", "The Rhine", "The Loire"),
    ("The longest mountain range on land is the", "Andes", "Alps", "Urals"),
    ("Which desert covers much of northern Africa?", "The Sahara", "The Gobi", "The Atacama"),
    ("Which country has the city of Kyoto?", "Japan", "China", "Korea"),
    (
        "Which line on a map joins places of equal height?",
        "A contour line",
        "A latitude line",
        "A border line",
    ),
    (
        "Which document did English barons force upon King John?",
        "The Magna Carta",
        "The Bill of Rights",
        "The Domesday Book",
    ),
    ("Who painted the ceiling of the Sistine Chapel?", "Michelangelo", "Leonardo", "Raphael"),
    (
        "Which invention made cheap books possible in Europe?",
        "Movable type",
        "The steam engine",
        "The paper clip",
    ),
    ("In which year did the Berlin Wall fall?", "1989", "1991", "1993"),
    ("Which empire built the Colosseum?", "The Roman empire", "The Ottoman empire", "The Persian empire"),
    ("Which protocol turns a host name into an address?", "DNS", "FTP", "SSH"),
    ("Which data structure gives back the newest element first?", "A stack", "A queue", "A heap"),
    ("What does a compiler produce?", "Machine code", "Test data", "Log files"),
    ("Which command of Git records staged changes?", "commit", "clone", "fetch"),
    ("Which key of a table identifies each row?", "The primary key", "The foreign key", "The sort key"),
    ("A loop that has no way to end is called", "infinite", "nested", "recursive"),
    ("Which sorting method splits a list into halves?", "Merge sort", "Bubble sort", "Insertion sort"),
    ("How many bits make one byte?", "8", "16", "32"),
    ("Which ingredient lets bread dough rise?", "Yeast", "Salt", "Butter"),
    ("Which flour gives the strongest dough?", "Wheat flour", "Rice flour", "Maize flour"),
    (
        "At which stage are egg whites folded into a soufflé?",
        "After beating them stiff",
        "After baking them dry",
        "After boiling them soft",
    ),
    ("Which cut divides a carrot into thin sticks?", "Julienne", "Brunoise", "Chiffonade"),
    ("Which of these cheeses is ripened with blue mould?", "Roquefort", "Gouda", "Cheddar"),
    (
        "Which account shows what a firm owns and owes?",
        "The balance sheet",
        "The cash book",
        "The price list",
    ),
    ("What does a bank charge for lending money?", "Interest", "Dividend", "Premium"),
    ("A market with a single seller is a", "monopoly", "partnership", "federation"),
    (
        "Which tax do shops collect with each sale?",
        "Value added tax",
        "Inheritance tax",
        "Corporate income tax",
    ),
    ("Which court hears appeals last?", "The supreme court", "The district court", "The family court"),
    ("How many players of a football team are on the pitch?", "11", "13", "15"),
    ("Which instrument has four strings and is played with a bow?", "The violin", "The guitar", "The banjo"),
    ("Which note lasts twice as long as a quarter note?", "A half note", "A whole note", "An eighth note"),
    ("Which word class names a thing?", "A noun", "A verb", "A conjunction"),
    ("Which sentence part tells who acts?", "The subject", "The object", "The adverbial"),
    ("A person who repairs shoes is a", "cobbler", "cooper", "tailor"),
)

# A rule between two questions: the place of the sound one above, the other, and whether that has the flaw.
PAIRS: tuple[tuple[str, int, tuple[str, ...], bool], ...] = (
    (
        "item.key_repeated",
        0,
        ("What bubbles out of fermenting dough?", "Carbon dioxide", "Helium", "Chlorine"),
        True,
    ),
    ("item.key_repeated", 34, ("What turns malt and hops into beer?", "Yeast", "Starch", "Vinegar"), True),
    ("item.key_repeated", 40, ("What do savers earn on a deposit?", "Interest", "Rent", "Wages"), True),
    (
        "item.similar",
        1,
        ("Which organ filters waste from our blood?", "A kidney", "A stomach", "A liver"),
        True,
    ),
    (
        "item.similar",
        16,
        ("Through Vienna flows which river?", "The Danube", "The Elbe", "The Oder"),
        True,
    ),
    (
        "item.similar",
        27,
        ("Which structure for data gives the newest element first?", "The stack", "The tree", "The graph"),
        True,
    ),
    (
        "item.given_away",
        15,
        (
            "Which sailors first crossed the Indian Ocean between Africa and Australia?",
            "Traders",
            "Whalers",
            "Divers",
        ),
        False,
    ),
    (
        "item.given_away",
        22,
        ("Michelangelo painted the ceiling of the Sistine Chapel in which city?", "Rome", "Turin", "Genoa"),
        False,
    ),
    (
        "item.given_away",
        8,
        (
            "On a barometer, a fall of the measured air pressure announces what?",
            "A storm",
            "A drought",
            "A frost",
        ),
        False,
    ),
)

# Questions with a flaw that can't be written into another one: the stem, the key, the wrong options.
# Negative, with nothing that stresses it.
QUIET_NEGATIVE: tuple[tuple[str, ...], ...] = (
    ("Which of these metals is not magnetic?", "Copper", "Iron", "Nickel"),
    ("Which of these is not a prime number?", "21", "23", "29"),
    ("All of these rivers flow through Germany except", "the Loire", "the Elbe", "the Weser"),
    ("Which of these animals doesn't lay eggs?", "The otter", "The heron", "The salmon"),
    ("Which colour is never part of the French flag?", "Green", "White", "Blue"),
    ("Which of these cannot be recycled as paper?", "Waxed cups", "Old letters", "Plain boxes"),
)
# Negative twice.
DOUBLE_NEGATIVE: tuple[tuple[str, ...], ...] = (
    ("Which metal is NOT without magnetism?", "Iron", "Zinc", "Gold"),
    ("Which of these is NOT an untrue statement on bees?", "They dance", "They bark", "They swim"),
    ("Which step is NOT unnecessary when baking bread?", "Kneading", "Freezing", "Frying"),
    ("Which animal does NOT lack a backbone?", "The trout", "The squid", "The wasp"),
    ("Which of these is NOT impossible for a computer?", "Sorting names", "Feeling grief", "Tasting salt"),
    ("Which rule does NOT fail to protect the buyer?", "The guarantee", "The price tag", "The gift wrap"),
)
# The article before the gap fits some of the options only.
WRONG_ARTICLE: tuple[tuple[str, ...], ...] = (
    ("A person who draws plans for houses is an", "architect", "carpenter", "plumber"),
    ("The fruit that Newton is said to have seen fall was an", "apple", "cherry", "pear"),
    ("A device that stores electric charge is a", "capacitor", "inductor", "insulator"),
    ("A six-legged animal with wings is usually an", "insect", "lizard", "mammal"),
    ("The bird that hunts at night without a sound is an", "owl", "sparrow", "pigeon"),
)
# One option has another form than the rest.
ODD_FORM: tuple[tuple[str, ...], ...] = (
    ("What should a cook do first with dried beans?", "To soak them", "Frying them", "Salting them"),
    ("What does a gardener do to keep weeds down?", "Mulching the beds", "To water leaves", "To cut roses"),
    ("Which of these keeps a blade sharp?", "Whetstones", "Dish cloth", "Wood block"),
    ("Which of these do bees collect?", "Nectar grains", "Rain drop", "Sand corn"),
    ("What is the use of a thermostat?", "Holding a temperature", "A colour meter", "A pressure gauge"),
)
# The key alone repeats a word of the stem.
ECHO: tuple[tuple[str, ...], ...] = (
    ("Which tool is used for planing a board smooth?", "A planing knife", "A claw hammer", "A hand drill"),
    (
        "Which glands secrete saliva into the mouth?",
        "The saliva glands",
        "The adrenal pair",
        "The thyroid lobes",
    ),
    (
        "In which vessel is milk churned to butter?",
        "A churned cask",
        "A copper kettle",
        "A clay jug",
    ),
    ("Which map shows the geology of a region?", "A geology map", "A weather chart", "A street plan"),
    ("Which officer audits the treasury of a club?", "The audits officer", "The chairman", "The secretary"),
    (
        "What is a vaccine meant to prevent?",
        "What vaccine trials prevent",
        "What doctors charge",
        "What schools teach",
    ),
)
