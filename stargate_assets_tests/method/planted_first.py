"""Planted replies that were there while the rules of the audit were written."""

from stargate_assets.method.conversation import Persona, Task
from stargate_assets.method.roleplayer_audit import Fault
from stargate_assets_tests.method.planted_replies import Person

IRIS = Person(
    Persona(
        "iris",
        "Iris",
        "I run a small pottery studio above a bakery in Porto. I am forty-two and share a flat "
        "with my sister and her three cats. I do not eat fish because it makes me ill. I ride a "
        "blue bicycle to work every morning. I teach eleven children on Saturday afternoons. My "
        "hands hurt in winter because of arthritis. I hate loud music and love slow films. I am "
        "saving for a second kiln.",
    ),
    Task("dinner", "Can you help me plan a dinner for friends?"),
    {
        "verbatim": [
            ("What do you do for work?", "I run a small pottery studio above a bakery in Porto."),
            ("What food do you avoid?", "I do not eat fish because it makes me ill."),
            ("What do you dislike?", "I hate loud music and love slow films."),
            ("How do you travel?", "I ride a blue bicycle to work every morning."),
            (
                "How old are you?",
                "I am forty-two and share a flat with my sister and her three cats.",
            ),
            ("Do you teach?", "I teach eleven children on Saturday afternoons."),
        ],
        "in other words": [
            ("What do you do for work?", "I have a little pottery studio, it's over a bakery."),
            ("Who do you live with?", "My sister and I share a flat, and she has 3 cats."),
            ("Is there food you avoid?", "Fish makes me ill, so I don't eat it."),
            ("How do you get to work?", "I go by bicycle, a blue one."),
            ("How old are you?", "I'm 42."),
            ("What hurts?", "My hands, mostly in winter. It's arthritis."),
            ("Do you teach?", "Yes, I teach eleven children in the afternoon on Saturdays."),
            ("What are you saving for?", "Another kiln, my second."),
            ("What music do you like?", "Well, I really hate it when music is loud."),
        ],
        "declines": [
            ("What is your favourite colour?", "I am not sure what to say to that."),
            ("Where were you born?", "I'm not sure."),
            ("Do you vote?", "I'd rather not say."),
        ],
        Fault.UNSUPPORTED: [
            ("What do you do for work?", "I fly planes for a big airline."),
            ("Who do you live with?", "With my husband and our daughter Clara."),
            ("What do you eat?", "Mostly lentil curry and fried noodles."),
            ("What are your hobbies?", "I climb mountains and collect stamps."),
            ("How many friends will come?", "There will be 16 guests."),
            ("How tall are you?", "I am 180 centimetres tall."),
            ("What do you drink?", "Red wine, preferably from Spain."),
            ("Do you have pets?", "I have a parrot called Oscar."),
            ("When do you get up?", "My alarm rings at five thirty."),
            ("What is your budget?", "I could spend ninety euros."),
        ],
        Fault.CONTRADICTS_PERSONA: [
            ("What food do you like?", "I eat fish."),
            ("How old are you?", "I am thirty-one and share a flat with my sister."),
            ("How many cats are there?", "My sister has five cats."),
            ("What music do you like?", "I love loud music."),
            ("How do you get to work?", "I never ride a bicycle to work."),
            ("Do you teach?", "I teach twenty children on Saturday afternoons."),
            ("Do your hands hurt?", "No, my hands don't hurt in winter."),
            ("Are you saving?", "I am not saving for a second kiln."),
        ],
        Fault.CONTRADICTS_ITSELF: [
            ("Do you cook?", "I cook pasta.", "What do you cook?", "I never cook pasta."),
            ("Any pets?", "My dog is ten.", "How old is the dog?", "My dog is four."),
            ("Sport?", "I play tennis.", "What sport?", "I do not play tennis."),
            ("Sweets?", "I hate chocolate cake.", "A dessert?", "I love chocolate cake."),
        ],
        Fault.UNASKED: [
            ("I see.", "I am saving for a second kiln."),
            ("Cooking is fun.", "I hate loud music and love slow films."),
            ("Let us begin.", "I ride a blue bicycle to work every morning."),
            (
                "What do you do for work?",
                "I run a small pottery studio above a bakery in Porto. I ride a blue bicycle to "
                "work every morning. I am saving for a second kiln.",
            ),
            (
                "Do you eat fish?",
                "I do not eat fish because it makes me ill. I teach eleven children on Saturday "
                "afternoons. I hate loud music and love slow films.",
            ),
        ],
        Fault.CARRIES_OUT_TASK: [
            ("What do you like?", "You should start with soup and then serve a roast."),
            ("What do you like?", "1. Write a list of guests.\n2. Cook rice.\n3. Set the table."),
            ("Who will come?", "I suggest a buffet, so that your friends can help themselves."),
            ("Any wishes?", "Here is a plan for the dinner: salad, soup and cake."),
            ("Any wishes?", "- Soup\n- Salad\n- Cake"),
            ("What matters?", "Make sure to buy everything the day before."),
        ],
        Fault.COPIES_PERSONA: [
            (
                "What do you like?",
                "I run a small pottery studio above a bakery in Porto. I am forty-two and share a "
                "flat with my sister and her three cats. I do not eat fish because it makes me "
                "ill. I ride a blue bicycle to work every morning. I teach eleven children on "
                "Saturday afternoons. My hands hurt in winter because of arthritis.",
            ),
            (
                "Who are you?",
                "I do not eat fish because it makes me ill. I ride a blue bicycle to work every "
                "morning. I teach eleven children on Saturday afternoons. My hands hurt in winter "
                "because of arthritis. I hate loud music and love slow films. I am saving for a "
                "second kiln.",
            ),
        ],
        Fault.SPEAKS_AS_ASSISTANT: [
            ("What do you like?", "As an AI, I do not have preferences."),
            ("What do you like?", "How can I help you with your dinner?"),
            ("Who will come?", "I'm happy to help! Let me know if you have other questions."),
            ("Who will come?", "That's a great question. Could you tell me more about it?"),
            ("What do you do?", "Assistant: I would love to hear about the guests."),
            ("How old are you?", "I'm an assistant, so I have no age."),
        ],
    },
)
DARIO = Person(
    Persona(
        "dario",
        "Dario",
        "I am sixty and retired from the railway last spring. I live in a village near Bologna "
        "with my wife and our old greyhound. I walk four kilometres every day because my doctor "
        "told me to. I never learned to drive. My pension is nine hundred euros a month. I grow "
        "tomatoes and basil on the balcony. I am allergic to nuts. I read history books at night "
        "because I sleep badly.",
    ),
    Task("hobby", "How can I find a new hobby?"),
    {
        "verbatim": [
            ("What was your job?", "I am sixty and retired from the railway last spring."),
            ("Do you have a car?", "I never learned to drive."),
            ("Are you ill?", "I am allergic to nuts."),
            ("What do you earn?", "My pension is nine hundred euros a month."),
        ],
        "in other words": [
            ("What was your job?", "I was with the railway, and I retired in spring."),
            ("Do you exercise?", "I walk 4 kilometres every day, as my doctor told me."),
            ("Can you drive?", "No, I never learned driving."),
            ("What do you earn?", "I get a pension of 900 euros a month."),
            ("Do you garden?", "Tomatoes and basil, on my balcony."),
            ("How do you sleep?", "I sleep badly, so at night I read a history book."),
            ("Who do you live with?", "I live with my wife, and we have an old greyhound."),
            ("Are there foods you can't eat?", "Nuts, because I have an allergy."),
        ],
        "declines": [
            ("What is your favourite song?", "I do not know what to say."),
            ("Do you swim?", "Sorry, I'm not sure how to answer that."),
        ],
        Fault.UNSUPPORTED: [
            ("What was your job?", "I taught physics at the university."),
            ("Who do you live with?", "With two sons in a Milan penthouse."),
            ("What do you like?", "Jazz concerts and modern art."),
            ("Do you exercise?", "I swim 30 laps before breakfast."),
            ("Where were you born?", "In Argentina, on a cattle ranch."),
            ("What do you fear?", "Spiders and heights."),
            ("Do you travel?", "I visited Japan with my cousin."),
            ("What do you play?", "The trumpet, in a brass band."),
            ("How many books have you?", "About 250 novels."),
            ("What do you wear?", "Leather boots and a green hat."),
        ],
        Fault.CONTRADICTS_PERSONA: [
            ("How old are you?", "I am seventy and retired from the railway."),
            ("Do you have a car?", "I learned to drive."),
            ("What do you earn?", "My pension is 1200 euros a month."),
            ("Do you exercise?", "I walk ten kilometres every day."),
            ("Can you eat nuts?", "I am not allergic to nuts."),
            ("Do you garden?", "I don't grow tomatoes on the balcony."),
            ("Do you read?", "I never read history books at night."),
        ],
        Fault.CONTRADICTS_ITSELF: [
            ("Money?", "I spend fifty euros.", "How much?", "I spend eighty euros."),
            ("Alone?", "I like group classes.", "Groups?", "I dislike group classes."),
            ("Music?", "I play the guitar.", "What do you play?", "I can't play the guitar."),
        ],
        Fault.UNASKED: [
            ("Hobbies are good.", "I am allergic to nuts."),
            ("Thank you, Dario.", "My pension is nine hundred euros a month."),
            (
                "Can you drive?",
                "I never learned to drive. I am allergic to nuts. I grow tomatoes and basil on the "
                "balcony.",
            ),
        ],
        Fault.CARRIES_OUT_TASK: [
            ("What do you like?", "You could join a chess club or a choir."),
            ("What do you like?", "I would recommend painting, because it is cheap."),
            ("Any wishes?", "Try making a list of everything that you enjoy."),
            ("Any wishes?", "* Chess\n* Painting"),
        ],
        Fault.COPIES_PERSONA: [
            (
                "Who are you?",
                "I am sixty and retired from the railway last spring. I live in a village near "
                "Bologna with my wife and our old greyhound. I walk four kilometres every day "
                "because my doctor told me to. I never learned to drive. My pension is nine "
                "hundred euros a month. I grow tomatoes and basil on the balcony.",
            ),
        ],
        Fault.SPEAKS_AS_ASSISTANT: [
            ("What do you like?", "I am a language model and have no hobbies."),
            ("Any wishes?", "Feel free to tell me what you enjoy, and we will find something."),
            ("How old are you?", "Thank you for sharing! What else do you enjoy?"),
            ("How are you?", "I'm here to help you find a hobby."),
        ],
    },
)
FIRST = (IRIS, DARIO)
