"""The names that a generated world is made of: institutions, merchants, employers, people.

Only facts that any provider could show. What one provider leaves out at one institution is that provider's file.
Amounts are in minor units.
"""

from typing import NamedTuple


class Institution(NamedTuple):
    """A bank; `slug` is its stable name."""

    slug: str
    name: str
    country: str
    currency: str
    routing: str


class Merchant(NamedTuple):
    """Somebody who takes cards: the clean name, what the terminal writes, the category, and what people spend."""

    name: str
    terminal: str
    category: str
    low: int
    high: int


INSTITUTIONS = (
    Institution("harbor_national", "Harbor National Bank", "US", "USD", "021000089"),
    Institution("prairie_credit_union", "Prairie Credit Union", "US", "USD", "273970116"),
    Institution("granite_trust", "Granite Trust", "US", "USD", "011401533"),
    Institution("meridian", "Meridian Bank, N.A.", "US", "USD", "121042882"),
    Institution("lumen", "Lumen", "US", "USD", "091311229"),
    Institution("old_mill_savings", "Old Mill Savings & Loan", "US", "USD", "031176110"),
)

MERCHANTS = (
    Merchant("Blue Kettle Coffee", "SQ *BLUE KETTLE COFFEE", "dining", 350, 1450),
    Merchant("Café Olé", "TST* CAFE OLE 0471", "dining", 900, 4800),
    Merchant("Noodle Bar Sakura", "NOODLE BAR SAKURA 22", "dining", 1400, 6200),
    Merchant('Joe\'s "Famous" Diner', "JOES FAMOUS DINER #8", "dining", 1100, 3900),
    Merchant("Greenleaf Market", "GREENLEAF MKT #1180", "groceries", 1200, 16800),
    Merchant("Costfair Wholesale", "COSTFAIR WHSE #0467", "groceries", 4500, 31000),
    Merchant("Corner Pantry", "CORNER PANTRY 00312", "groceries", 300, 4200),
    Merchant("Pinewood Hardware", "PINEWOOD HDWE 5514", "home", 800, 21000),
    Merchant("Rivera & Söhne Books", "RIVERA+SOHNE BOOKS", "education", 900, 7400),
    Merchant("Shellwood Fuel", "SHELLWOOD OIL 5744200", "fuel", 2200, 7900),
    Merchant("Metro Transit", "METRO TRANSIT MOBILE", "transportation", 275, 3300),
    Merchant("Hailo Rides", "HAILO *TRIP HELP.HAILO", "transport", 780, 5400),
    Merchant("Bramble Pharmacy", "BRAMBLE RX #02219", "health", 450, 8800),
    Merchant("Northside Dental", "NORTHSIDE DENTAL PC", "health", 4000, 42000),
    Merchant("Parcelhub", "PARCELHUB MKTPL*2K4", "shopping", 699, 18900),
    Merchant("Thread & Needle", "THREAD+NEEDLE 117", "clothing", 1900, 15900),
    Merchant("Volt Electronics", "VOLT ELEC 00088", "electronics", 1299, 89900),
    Merchant("Cinema Lumière", "CINEMA LUMIERE", "entertainment", 1100, 4400),
    Merchant("Peak Climbing Gym", "PEAK CLIMBING GYM", "sport", 1500, 4500),
    Merchant("Lakeview Inn", "LAKEVIEW INN RES", "accommodation", 9900, 48000),
)

SUPPLIERS = (
    Merchant("Officeline Supply", "OFFICELINE SPLY 8841", "office", 1800, 34000),
    Merchant("Adreach", "ADREACH *ADS4471", "advertising", 5000, 60000),
    Merchant("Swift Courier", "SWIFT COURIER INV", "service", 1400, 12000),
    Merchant("Cloudhost", "CLOUDHOST.EXAMPLE*USAGE", "software", 4000, 52000),
    Merchant("Shellwood Fuel", "SHELLWOOD OIL 5744200", "fuel", 3200, 11900),
    Merchant("Blue Kettle Coffee", "SQ *BLUE KETTLE COFFEE", "dining", 900, 6400),
    Merchant("Meridian Airways", "MERIDIAN AIR 0012349", "transportation", 14900, 74000),
    Merchant("Pinewood Hardware", "PINEWOOD HDWE 5514", "home", 2800, 41000),
)

SUBSCRIPTIONS = (
    Merchant("Streambox", "STREAMBOX.EXAMPLE", "entertainment", 1549, 1549),
    Merchant("Tunewave", "TUNEWAVE P2B77", "entertainment", 1099, 1099),
    Merchant("Fitloop", "FITLOOP MEMBERSHIP", "sport", 3999, 3999),
    Merchant("Daily Herald", "DAILY HERALD DIGITAL", "education", 800, 800),
    Merchant("Keepsafe Storage", "KEEPSAFE 200GB", "software", 299, 299),
    Merchant("Ledgerly Books", "LEDGERLY PRO", "software", 5500, 5500),
    Merchant("Teamline Chat", "TEAMLINE 12 SEATS", "software", 9600, 9600),
    Merchant("Formsmith", "FORMSMITH PLUS", "software", 2900, 2900),
)

EMPLOYERS = ("Acorn Robotics", "Bayview School District", "Cobalt Health", "Delta Freight", "Evergreen Retail")
CLIENTS = ("Foxglove Hotels", "Granger & Sons", "Helix Labs", "Ironbridge Council", "Juniper Foods", "Kestrel Media")
VENDORS = ("Lindgren Wholesale", "Mosaic Packaging", "Nordhaus Imports", "Orchard Farms", "Pacific Roasters")
PROCESSORS = ("Stripe", "Squarepay", "Clearcard")

FIRST_NAMES = (
    "Amara", "Ben", "Chloé", "Dmitri", "Elena", "Farid", "Grace", "Hiro", "Imani", "José", "Katya", "Liam",
    "Mei", "Noah", "Oluchi", "Priya", "Quinn", "Rosa", "Søren", "Tara",
)  # fmt: skip
LAST_NAMES = (
    "Abbott", "Brooks", "Castañeda", "Diaz", "Eriksen", "Fontaine", "Gupta", "Huang", "Ito", "Johnson", "Kowalski",
    "Lopez", "Müller", "Nguyen", "O'Brien", "Petrov", "Quist", "Rossi", "Silva", "Tanaka",
)  # fmt: skip
TRADES = ("Coffee Roasters", "Cycles", "Design Studio", "Bakery", "Plumbing", "Dental", "Analytics", "Garden Supply")
CITIES = (
    ("Oakland", "CA", "94607"), ("Duluth", "MN", "55802"), ("Asheville", "NC", "28801"), ("Tulsa", "OK", "74103"),
    ("Portland", "ME", "04101"), ("Boise", "ID", "83702"),
)  # fmt: skip
STREETS = ("Alder Street", "Bay Road", "Cedar Avenue", "Depot Lane", "Elm Court")
