"""Stop words of the languages the generator knows."""

from aifactory.granulation.offline.wordlists import word_set

_EN = """
a about above across after again against all almost along already also although always am among an and any
anyone anything are aren't around as at away back be became because become becomes been before being below
between both but by came can can't cannot come comes could couldn't did didn't do does doesn't doing don't
done down during each either else enough especially etc even ever every everyone everything except far few
first for from further gave get gets getting give given gives go goes going gone got had hadn't has hasn't
have haven't having he her here hers herself him himself his how however i i'd i'll i'm i've if in indeed
instead into is isn't it it's its itself just keep keeps kept know known last least less let let's like
likely made mainly make makes making many may maybe me mean means might mine more moreover most mostly much
must my myself near nearly need needs neither never next no nobody none nor not nothing now of off often on
once one one's only onto or other others otherwise our ours ourselves out over own per perhaps put puts
quite rather really s said same say says see seem seems seen several shall she should shouldn't simply since
so some someone something sometimes somewhat soon still such sure take taken takes taking than that that's
the their theirs them themselves then there there's therefore these they they're thing things this those
though through throughout thus to together too took toward towards two under unless unlike until up upon us
use used useful uses using usually various very via want was wasn't way ways we we'll we're we've well went
were weren't what what's whatever when whenever where whereas wherever whether which while who whoever whole
whom whose why will with within without won't would wouldn't yes yet you you'd you'll you're you've your
yours yourself three four five six seven eight nine ten hundred thousand
"""
_ES = """
a al algo algunas algunos ante antes así aunque bajo bien cada casi como con contra cual cuales cuando de
del desde donde dos durante e el él ella ellas ellos en entre era eran es esa ese eso esta está están estas
este esto estos fue fueron ha han hasta hay la las le les lo los luego más me menos mi mientras mismo misma
muy nada ni no nos nosotros nuestra nuestro o otra otro otros para pero poco por porque pues puede pueden
que qué quien se según ser si sí sido siempre sin sobre solo son su sus también tan tanto te tiene tienen
todo toda todos todas tras tu un una uno unos unas y ya yo
"""
_DE = """
aber alle allem allen aller alles als also am an ander andere anderen auch auf aus bei beim bin bis bist da
dabei dadurch dafür damit danach dann das dass dein dem den denn der des dessen die dies diese diesem diesen
dieser dieses doch dort du durch ein eine einem einen einer eines er es etwa etwas euch für gegen haben hat
hatte hatten hier ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in indem ins ist ja jede jedem jeden jeder
jedes jedoch kann kein keine können könnte man mehr mein mit muss müssen nach nicht nichts noch nun nur ob
oder ohne sehr sein seine seinem seinen seiner sich sie sind so sogar solche soll sollte sondern sowie über
um und uns unser unter vom von vor wann war waren warum was weil weiter welche welcher wenn wer werden wie
wieder wird wir wo wurde wurden zu zum zur zwar zwischen
"""
_FR = """
à afin ai ainsi alors après au aucun aussi autre autres aux avant avec avoir c'est car ce ceci cela celle
celles celui ces cet cette ceux chaque chez comme comment dans de depuis des deux donc dont du elle elles en
encore entre est et était étaient être eu eux fait il ils je jusqu'à l la là le les leur leurs lors lorsque
lui mais me même mêmes mes moins mon ne ni non nos notre nous on ont ou où par parce pas pendant peu peut
peuvent plus plusieurs pour pourquoi quand que quel quelle quelles quels qui quoi sa sans se selon sera ses
si son sont sous sur ta tandis te tes toi ton tous tout toute toutes très tu un une vers vos votre vous y
"""
_CS = """
a aby aj ale ani ano asi až během bez bude budou by byl byla byli bylo být co což či další do dokud i ho
jak jako je jeho jej její jejich jen jenž ještě ji jich jím jimi jiné již jsem jsme jsou jste k kam každý
kde kdo kdy když ke která které který kteří ku má mají mezi mi mít mnoho můj může mohou na nad nam nás ne
nebo něco než nic nich ním o od on ona oni ono pak po pod podle pokud pouze právě pro proč proto protože
první před přes při s se si sice své svůj svých ta tak také takže tam tato te tedy ten tento této tím to
toho tom tomu tu ty u už v vám ve více však vy z za zde ze že
"""

STOP_WORDS: dict[str, frozenset[str]] = {
    "en": word_set(_EN),
    "es": word_set(_ES),
    "de": word_set(_DE),
    "fr": word_set(_FR),
    "cs": word_set(_CS),
}
