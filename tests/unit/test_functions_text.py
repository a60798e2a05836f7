"""Text functions. Expected values: the examples on Microsoft's page of each function, unless a comment says otherwise."""

import pytest
from formula_cases import value_of, values_of
from hypothesis import given
from hypothesis import strategies as st

from ultramc.functions.criteria import wildcard
from ultramc.functions.text import from_units, units
from ultramc.values import ExcelError

VALUE, NUM, NA = ExcelError.VALUE, ExcelError.NUM, ExcelError.NA

PARTS = [
    ('LEFT("Sale Price",4)', "Sale"),
    ('LEFT("Sweden")', "S"),
    ('LEFT("abc",-1)', VALUE),
    ('LEFT("abc",0)', ""),
    ("LEFT(1234.5,3)", "123"),
    ("LEFT(TRUE,2)", "TR"),
    ('LEFTB("abc",2)', "ab"),
    ('RIGHT("Sale Price",5)', "Price"),
    ('RIGHT("Stock Number")', "r"),
    ('RIGHT("abc",0)', ""),
    ('RIGHT("abc",9)', "abc"),
    ('MID("Fluid Flow",1,5)', "Fluid"),
    ('MID("Fluid Flow",7,20)', "Flow"),
    ('MID("Fluid Flow",20,5)', ""),
    ('MID("abc",0,1)', VALUE),
    ('LEN("Phoenix, AZ")', 11.0),
    ('LEN("     One   ")', 11.0),
    ('LEN("")', 0.0),
    ("LEN(1/0)", ExcelError.DIV0),
    ('REPLACE("abcdefghijk",6,5,"*")', "abcde*k"),
    ('REPLACE("2009",3,2,"10")', "2010"),
    ('REPLACE("123456",1,3,"@")', "@456"),
    ('SUBSTITUTE("Sales Data","Sales","Cost")', "Cost Data"),
    ('SUBSTITUTE("Quarter 1, 2008","1","2",1)', "Quarter 2, 2008"),
    ('SUBSTITUTE("Quarter 1, 2011","1","2",3)', "Quarter 1, 2012"),
    ('SUBSTITUTE("aaa","a","b",4)', "aaa"),
    ('SUBSTITUTE("aaa","a","b",0)', VALUE),
    ('SUBSTITUTE("abc","","x")', "abc"),
]

CASES = [
    ('UPPER("total")', "TOTAL"),
    ('LOWER("E. E. Cummings")', "e. e. cummings"),
    ('PROPER("this is a TITLE")', "This Is A Title"),
    ('PROPER("2-way street")', "2-Way Street"),
    ('PROPER("76BudGet")', "76Budget"),
    ('TRIM(" First Quarter  Earnings ")', "First Quarter Earnings"),
    ('CLEAN(CHAR(9)&"Monthly report"&CHAR(10))', "Monthly report"),
    ('REPT("*-",3)', "*-*-*-"),
    ('REPT("-",10)', "----------"),
    ('REPT("abc",20000)', VALUE),
    ('EXACT("word","word")', True),
    ('EXACT("Word","word")', False),
]

FOUND = [
    ('FIND("M","Miriam McGovern")', 1.0),
    ('FIND("m","Miriam McGovern")', 6.0),
    ('FIND("M","Miriam McGovern",3)', 8.0),
    ('FIND("x","abc")', VALUE),
    ('FIND("a","abc",4)', VALUE),
    ('FIND("","abc")', 1.0),
    ('SEARCH("e","Statements",6)', 7.0),
    ('SEARCH("margin","Profit Margin")', 8.0),
    ('SEARCH("""","The ""boss"" is here.")', 5.0),
    ('SEARCH("p?o*t","xx Profit")', 4.0),
    ('SEARCH("b*b","abc")', VALUE),
    ('SEARCH("*","abc",2)', 2.0),
    # the four below: cached by Excel
    ('SEARCH("~~","Hi ~Bang!")', 4.0),
    ('SEARCH("~","Hello")', 1.0),
    ('SEARCH("~d","My dear")', 4.0),
    ('SEARCH("~~*","Ho*la")', VALUE),
]

JOINED = [
    ('CONCATENATE("Stream population for ","brook"," ","trout"," is ",32,"/mile.")', "Stream population for brook trout is 32/mile."),
    ('CONCAT("The"," ","sun",1,TRUE)', "The sun1TRUE"),
    ('CONCAT({"a","b";"c","d"})', "abcd"),
    ('TEXTJOIN(", ",TRUE,"US Dollar","","Euro")', "US Dollar, Euro"),
    ('TEXTJOIN(", ",FALSE,"US Dollar","","Euro")', "US Dollar, , Euro"),
    ('TEXTJOIN({",",";"},TRUE,"a","b","c")', "a,b;c"),
    ('TEXTJOIN(",",TRUE,"a",NA())', NA),
    ('TEXTJOIN(",","no","a")', VALUE),
    ('TEXTBEFORE("Little Red Riding Hood\'s red hood","Red")', "Little "),
    ('TEXTBEFORE("Red Riding red","red",-1)', "Red Riding "),
    ('TEXTBEFORE("Red Riding red","x")', NA),
    ('TEXTBEFORE("Red Riding","x",1,0,0,"none")', "none"),
    ('TEXTBEFORE("Red Riding","x",1,0,1)', "Red Riding"),
    ('TEXTAFTER("a-b-c","-",2)', "c"),
    ('TEXTAFTER("aXbxc","X",2,1)', "c"),
    ('TEXTAFTER("abc","b",0)', VALUE),
    ('ARRAYTOTEXT({1,"a";TRUE,#N/A})', "1, a, TRUE, #N/A"),
    ('ARRAYTOTEXT({1,"a";TRUE,2},1)', '{1,"a";TRUE,2}'),
    ('HYPERLINK("http://example.microsoft.com/report","Click")', "Click"),
    ('HYPERLINK("http://example.microsoft.com/report")', "http://example.microsoft.com/report"),
]

CHARACTERS = [
    ("CHAR(65)", "A"),
    ("CHAR(128)", "€"),
    ("CHAR(0)", VALUE),
    ("CHAR(256)", VALUE),
    ('CODE("A")', 65.0),
    ('CODE("€uro")', 128.0),
    ('CODE("")', VALUE),
    ("UNICHAR(66)", "B"),
    ("UNICHAR(0)", VALUE),
    ("UNICHAR(55296)", NA),
    ('UNICODE("B")', 66.0),
    ('LEN("😀")', 2.0),
    ('MID("a😀b",4,1)', "b"),
    ('FIND("b","a😀b")', 4.0),
]

NUMBERS = [
    ('VALUE("$1,000")', 1000.0),
    ("VALUE(7)", 7.0),
    ("VALUE(TRUE)", VALUE),
    ("VALUE(A1)", 0.0),
    ('VALUE("")', VALUE),
    ('VALUE("1/5")', 46027.0),  # 5 January of the year of the run's clock
    ('NUMBERVALUE("2.500,27",",",".")', 2500.27),
    ('NUMBERVALUE("3.5%")', 0.035),
    ('NUMBERVALUE("9%%")', 0.0009),
    ('NUMBERVALUE(" 3 000 ")', 3000.0),
    ('NUMBERVALUE("")', 0.0),
    ('NUMBERVALUE("1.2,3")', VALUE),
    ("FIXED(1234.567,1)", "1,234.6"),
    ("FIXED(1234.567,-1)", "1,230"),
    ("FIXED(-1234.567,-1,TRUE)", "-1230"),
    ("FIXED(44.332)", "44.33"),
    ("FIXED(1E+30,1,TRUE)", f"1{'0' * 30}.0"),
    ("FIXED(12345,-9)", "0"),
    ("FIXED(-0.001)", "0.00"),
    ("FIXED(1,128)", VALUE),
    ("DOLLAR(1234.567)", "$1,234.57"),
    ("DOLLAR(1234.567,-2)", "$1,200"),
    ("DOLLAR(-1234.567,-2)", "($1,200)"),
    ("DOLLAR(-0.123,4)", "($0.1230)"),
    ("DOLLAR(99.888)", "$99.89"),
]


@pytest.mark.parametrize(("formula", "expected"), PARTS + CASES + FOUND + JOINED + CHARACTERS + NUMBERS)
def test_value(formula, expected):
    value = value_of(f"={formula}")
    assert value == (pytest.approx(expected, rel=1e-14) if isinstance(expected, float) else expected)
    assert type(value) is type(expected)


def test_block_of_like_formulas_equals_single_cells():
    words = {f"A{row}": word for row, word in enumerate(("alpha", "beta", 3.5, None, True), 1)}
    formulas = {f"B{row}": f'=TEXTJOIN("-",TRUE,A{row},$A$1:$A$2,UPPER(A{row}))' for row in range(1, 6)}
    together = values_of(formulas, words)
    assert together == {address: value_of(formula, words) for address, formula in formulas.items()}
    assert together["B2"] == "beta-alpha-beta-BETA"


@given(st.text())
def test_units_and_back(text):
    text = text.encode("utf-16-le", "replace").decode("utf-16-le")
    assert from_units(units(text)) == text
    assert len(units(text)) == len(text.encode("utf-16-le")) // 2


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_wildcards_match_as_defined(pattern, text):
    def matches(signs, rest):  # the definition, by recursion
        if not signs:
            return not rest
        if signs[0] == "*":
            return any(matches(signs[1:], rest[cut:]) for cut in range(len(rest) + 1))
        return bool(rest) and signs[0] in ("?", rest[0]) and matches(signs[1:], rest[1:])

    assert (wildcard(pattern).fullmatch(text) is not None) == matches(pattern, text)


def test_many_stars_end_soon():
    assert wildcard("*a" * 30 + "b").fullmatch("a" * 20_000) is None


SPLITS = [  # cached by Excel, or on Microsoft's page
    ('TEXTSPLIT("Dakota Lennon Sanchez"," ")', [["Dakota", "Lennon", "Sanchez"]]),
    ('TEXTSPLIT("1,2;3",",",";")', [["1", "2"], ["3", NA]]),
    ('TEXTSPLIT("1,2;3",",",";",FALSE,0,"-")', [["1", "2"], ["3", "-"]]),
    ('TEXTSPLIT("a,,b",",",,TRUE)', [["a", "b"]]),
    ('TEXTSPLIT("aXbxc","x",,,1)', [["a", "b", "c"]]),
    ('TEXTSPLIT("1,2.3",{",","."})', [["1", "2", "3"]]),
]


@pytest.mark.parametrize(("formula", "expected"), SPLITS)
def test_split(formula, expected):
    places = {
        (row, column): f"=INDEX({formula},{row + 1},{column + 1})" for row in range(len(expected)) for column in range(len(expected[0]))
    }
    values = values_of({f"{'XYZ'[column]}{row + 1}": text for (row, column), text in places.items()})
    assert [[values[f"{'XYZ'[column]}{row + 1}"] for column in range(len(line))] for row, line in enumerate(expected)] == expected


@pytest.mark.parametrize("arguments", ['"a",""', '"a",', '"",","'])
def test_split_needs_text_and_delimiter(arguments):
    assert value_of(f"=TEXTSPLIT({arguments})") == VALUE
