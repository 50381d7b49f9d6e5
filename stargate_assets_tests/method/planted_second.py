"""Planted replies of other people, written when the rules of the audit were fixed."""

from stargate_assets.method.conversation import Persona, Task
from stargate_assets.method.roleplayer_audit import Fault
from stargate_assets_tests.method.planted_replies import Person

HAMISH = Person(
    Persona(
        "hamish",
        "Hamish",
        "I keep four hundred sheep on a hill farm in the Scottish Borders. I can only cook eggs, "
        "porridge and tinned soup. My wife died two years ago and my children live in Australia. I "
        "am fifty-eight and have worn out both of my hips. I play the fiddle by ear in front of "
        "the stove. I have plenty of land but very little cash until the autumn sales. I get up at "
        "five and never take a full day off. I dislike crowds and have not been to a city for "
        "years.",
    ),
    Task("trip", "Where should I spend a short holiday?"),
    {
        "verbatim": [
            (
                "What is your work?",
                "I keep four hundred sheep on a hill farm in the Scottish Borders.",
            ),
            ("Do you play music?", "I play the fiddle by ear in front of the stove."),
            ("Do you like cities?", "I dislike crowds and have not been to a city for years."),
        ],
        "in other words": [
            ("What is your work?", "I've got a hill farm with 400 sheep."),
            ("What can you cook?", "Only eggs, porridge, and soup from a tin."),
            ("Do you have family?", "My wife died, and the children are in Australia."),
            ("How is your health?", "Both of my hips are worn out."),
            ("What do you play?", "The fiddle, by ear, near the stove."),
            ("Is money tight?", "I have little cash before the autumn sales, though I have land."),
            ("Do you like crowds?", "No, I really dislike crowds."),
            ("When do you get up?", "At five, and I don't ever take a full day off."),
        ],
        "declines": [
            ("What is your favourite film?", "I'm not sure."),
            ("Have you been to Spain?", "I don't know what to say to that."),
        ],
        Fault.UNSUPPORTED: [
            ("What do you do at night?", "I watch detective series and eat crisps."),
            ("Do you have friends?", "My neighbour Fergus visits with his whisky."),
            ("What did you study?", "Engineering, in Glasgow."),
            ("What do you drive?", "A rusty red tractor and an electric van."),
            ("How much can you spend?", "About 350 pounds."),
            ("Do you swim?", "I swim in the loch with my brother."),
            ("What do you read?", "Poems, crime novels and the newspaper."),
            ("How long can you stay away?", "I could leave for twelve nights."),
        ],
        Fault.CONTRADICTS_PERSONA: [
            ("How many sheep?", "I keep sixty sheep."),
            ("How old are you?", "I am forty-four and have worn out both hips."),
            ("Do you play music?", "I don't play the fiddle."),
            ("Do you like crowds?", "I like crowds."),
            ("When did your wife die?", "My wife died ten years ago."),
            ("When do you rest?", "I take a full day off."),
        ],
        Fault.CONTRADICTS_ITSELF: [
            ("Trains?", "I enjoy train journeys.", "By train?", "I hate train journeys."),
            ("Nights?", "I can stay six nights.", "How long?", "I can stay two nights."),
            ("Boats?", "I get seasick on boats.", "A boat?", "I never get seasick on boats."),
        ],
        Fault.UNASKED: [
            ("That sounds good.", "I play the fiddle by ear in front of the stove."),
            ("Hello Hamish.", "I can only cook eggs, porridge and tinned soup."),
            (
                "What is your work?",
                "I keep four hundred sheep on a hill farm in the Scottish Borders. I can only cook "
                "eggs, porridge and tinned soup. I play the fiddle by ear in front of the stove.",
            ),
        ],
        Fault.CARRIES_OUT_TASK: [
            ("What do you like?", "You should visit the Isle of Skye in May."),
            ("What do you like?", "I'd suggest a quiet cottage by the sea."),
            ("Any wishes?", "1) Book a cottage\n2) Pack warm clothes"),
            ("Any wishes?", "Here are some ideas for a short holiday: Skye, Orkney and Fife."),
        ],
        Fault.COPIES_PERSONA: [
            (
                "Who are you?",
                "I keep four hundred sheep on a hill farm in the Scottish Borders. I can only cook "
                "eggs, porridge and tinned soup. My wife died two years ago and my children live "
                "in Australia. I am fifty-eight and have worn out both of my hips. I play the "
                "fiddle by ear in front of the stove. I have plenty of land but very little cash "
                "until the autumn sales.",
            ),
        ],
        Fault.SPEAKS_AS_ASSISTANT: [
            ("What do you like?", "As a language model I cannot travel."),
            ("Any wishes?", "I can assist you with finding a place to stay."),
            ("Who comes along?", "Good question! Please provide more details."),
            ("When?", "How may I help you today?"),
        ],
    },
)
LEILA = Person(
    Persona(
        "leila",
        "Leila",
        "I am thirty-seven and raise two-year-old twin girls without a partner. I have a slipped "
        "disc and must not carry heavy loads. I translate legal papers from my kitchen table while "
        "my twins nap. I used to race bicycles and still own my old road bike. I live on the fifth "
        "floor in Tunis in a building without a lift. I do not eat pork or drink alcohol, and I "
        "love hot chillies. I get paid irregularly and keep every expense in a notebook. I grew up "
        "beside olive groves and miss working with soil.",
    ),
    Task("sleep", "How can I get more rest?"),
    {
        "verbatim": [
            (
                "Where do you live?",
                "I live on the fifth floor in Tunis in a building without a lift.",
            ),
            ("Is your back well?", "I have a slipped disc and must not carry heavy loads."),
            ("How is your income?", "I get paid irregularly and keep every expense in a notebook."),
        ],
        "in other words": [
            ("Do you have children?", "Twin girls. I raise them without a partner."),
            ("What is your job?", "I translate papers, legal ones, at the kitchen table."),
            ("How is your back?", "My disc slipped, so I must not carry a heavy load."),
            ("Do you exercise?", "I used to race on a bicycle, and I still have the road bike."),
            ("Do you drink?", "I don't drink alcohol."),
            ("What do you love to eat?", "Chillies, when they are hot!"),
            ("Where did you grow up?", "Beside olive groves. I miss the soil."),
            ("How old are you?", "I'm 37."),
        ],
        "declines": [
            ("What is your star sign?", "I am not sure what to say."),
            ("Do you snore?", "Well, I'd rather not answer that."),
        ],
        Fault.UNSUPPORTED: [
            ("What keeps you awake?", "Barking dogs and my noisy refrigerator."),
            ("Who helps you?", "My aunt Samira cooks couscous for us."),
            ("What do you do at night?", "I paint watercolours and listen to podcasts."),
            ("How long do you sleep?", "Maybe 4 hours."),
            ("Where did you study?", "Medicine, at a college in Lyon."),
            ("Do you have pets?", "A goldfish and a turtle."),
            ("What do you wear?", "Silk pyjamas with purple flowers."),
            ("How often do you wake?", "I wake up nine times."),
        ],
        Fault.CONTRADICTS_PERSONA: [
            ("How old are you?", "I am fifty and raise twin girls."),
            ("Do you drink?", "I drink alcohol."),
            ("How is your back?", "I can carry heavy loads."),
            ("Is there a lift?", "I live in a building with a lift."),
            ("Do you like chillies?", "I hate hot chillies."),
            ("Do you miss your home?", "I don't miss working with soil."),
        ],
        Fault.CONTRADICTS_ITSELF: [
            ("Coffee?", "I drink strong coffee.", "Coffee?", "I never drink strong coffee."),
            ("Help?", "I have three cousins here.", "Who?", "I have five cousins here."),
            ("Naps?", "I cannot fall asleep at noon.", "Noon?", "I fall asleep at noon."),
        ],
        Fault.UNASKED: [
            ("Rest is important.", "I used to race bicycles and still own my old road bike."),
            ("Okay.", "I live on the fifth floor in Tunis in a building without a lift."),
            (
                "How is your back?",
                "I have a slipped disc and must not carry heavy loads. I used to race bicycles and "
                "still own my old road bike. I get paid irregularly and keep every expense in a "
                "notebook.",
            ),
        ],
        Fault.CARRIES_OUT_TASK: [
            ("What do you do at night?", "You could turn off all screens an hour before bed."),
            ("What do you do at night?", "My advice is to keep the same hours every day."),
            ("Any wishes?", "- Dim the lights\n- Drink herbal tea"),
            ("Any wishes?", "Try going to bed when the twins do."),
        ],
        Fault.COPIES_PERSONA: [
            (
                "Who are you?",
                "I have a slipped disc and must not carry heavy loads. I translate legal papers "
                "from my kitchen table while my twins nap. I used to race bicycles and still own "
                "my old road bike. I live on the fifth floor in Tunis in a building without a "
                "lift. I do not eat pork or drink alcohol, and I love hot chillies. I get paid "
                "irregularly and keep every expense in a notebook.",
            ),
        ],
        Fault.SPEAKS_AS_ASSISTANT: [
            ("How are you?", "I am an AI and do not sleep."),
            ("Any wishes?", "I'd be glad to help you rest."),
            ("What do you eat?", "Thanks for asking! Could you share some details of your day?"),
            ("When do you rest?", "Is there anything else you would like to know?"),
        ],
    },
)
SECOND = (HAMISH, LEILA)
