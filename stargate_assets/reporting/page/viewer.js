/* The conversation viewer. Every text reaches the page through textContent; the data come from one
   JSON block (viewer.py writes its arrays in the order of these constants). */
"use strict";
(() => {
  const [E, POLICY, PAIR, SAMPLE, SCORE, STATUS, REASON, QUESTIONS, ANSWERS, WHO] = Array(10).keys();
  const [RE, RPOLICY, RPAIR, ARM, RSAMPLE, TEXT, VERDICT, FIRST, SECOND, UNSCORED] = Array(10).keys();
  const ROW_HEIGHT = 60, SPARE_ROWS = 6, SETTLE_MS = 120;
  const ARMS = {
    method: "the policy asks and answers",
    base_answers: "the policy asks, the base model answers",
    base_asks: "the base model asks, the policy answers",
    no_questions: "the policy answers at once",
    instructed: "the base model asks and answers, told to use what was said",
  };
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const rows = data.conversations;
  const form = $("filters"), list = $("list"), holder = $("rows"), detail = $("detail");
  const field = (name) => form.elements.namedItem(name);
  let found = rows.map((_, index) => index);
  let active = 0;

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const task = (row) => data.tasks[data.pairs[row[PAIR]][0]];
  const persona = (row) => data.personas[data.pairs[row[PAIR]][1]];
  const split = (row) => data.pairs[row[PAIR]][2];
  const nats = (score) => score === null ? "not scored" : score.toFixed(1).replace("-", "−") + " nats";
  const status = (row) => row[REASON] ? "ineligible: " + row[REASON].replaceAll("_", " ") : row[STATUS];

  const byPair = (items, experiment, pair) => {
    const groups = new Map();
    for (const item of items) {
      const key = item[experiment] + "|" + item[pair];
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(item);
    }
    return (row) => groups.get(row[E] + "|" + row[PAIR]) ?? [];
  };
  const conversationsOf = byPair(rows, E, PAIR), responsesOf = byPair(data.responses, RE, RPAIR);

  /* Filters */
  const fill = (select, all, entries) => {
    if (!select) return;
    const option = (value, label) => {
      const element = make("option", "", label);
      element.value = value;
      select.append(element);
    };
    if (all) option("", all);
    for (const [value, label] of entries) option(value, label);
  };
  const distinct = (of) => [...new Set(rows.map(of))];
  const byLabel = (a, b) => a[1].localeCompare(b[1]);
  fill(field("experiment"), "all", data.experiments.map((name, i) => [i, name]));
  fill(field("policy"), "all", distinct((r) => r[POLICY]).sort((a, b) => a - b).map((p) => [p, p]));
  fill(field("split"), "all", distinct(split).sort().map((s) => [s, s]));
  const reasons = distinct((r) => r[REASON]).filter(Boolean).sort();
  const present = new Set(rows.map((r) => r[STATUS]));
  fill(field("status"), "all", [
    ...["kept", "rejected", "eligible", "ineligible"].filter((s) => present.has(s)).map((s) => [s, s]),
    ...reasons.map((r) => [r, "– " + r.replaceAll("_", " ")]),
  ]);
  fill(field("task"), "all", data.tasks.map((t, i) => [i, t[0]]).sort(byLabel));
  fill(field("persona"), "all", data.personas.map((p, i) => [i, p[0]]).sort(byLabel));

  let texts;  // made at the first search
  const searchable = () => {
    texts ??= rows.map((row) => [task(row)[0], ...persona(row), ...row[QUESTIONS], ...row[ANSWERS],
      ...responsesOf(row).filter((r) => r[RPOLICY] === row[POLICY]).map((r) => r[TEXT])].join("\n").toLowerCase());
    return texts;
  };

  const chosen = (name) => field(name)?.value ?? "";
  const filter = () => {
    const words = chosen("text").trim().toLowerCase();
    const [experiment, policy, where, state, whichTask, who] =
      ["experiment", "policy", "split", "status", "task", "persona"].map(chosen);
    const least = chosen("least") === "" ? null : Number(chosen("least"));
    const most = chosen("most") === "" ? null : Number(chosen("most"));
    const held = words ? searchable() : null;
    found = [];
    rows.forEach((row, index) => {
      const pair = data.pairs[row[PAIR]];
      if (experiment !== "" && row[E] !== Number(experiment)) return;
      if (policy !== "" && row[POLICY] !== Number(policy)) return;
      if (where !== "" && pair[2] !== where) return;
      if (state !== "" && row[STATUS] !== state && row[REASON] !== state) return;
      if (whichTask !== "" && pair[0] !== Number(whichTask)) return;
      if (who !== "" && pair[1] !== Number(who)) return;
      if (least !== null && (row[SCORE] === null || row[SCORE] < least)) return;
      if (most !== null && (row[SCORE] === null || row[SCORE] > most)) return;
      if (held && !held[index].includes(words)) return;
      found.push(index);
    });
    active = 0;
    list.scrollTop = 0;
    $("found").textContent = found.length
      ? `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} conversations`
      : "No conversation matches. Clear a filter.";
    draw();
  };

  /* The list holds only the rows that can be seen. */
  const draw = () => {
    const from = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - SPARE_ROWS);
    const to = Math.min(found.length,
      Math.ceil((list.scrollTop + list.clientHeight) / ROW_HEIGHT) + SPARE_ROWS);
    holder.style.height = found.length * ROW_HEIGHT + "px";
    const drawn = [];
    for (let place = from; place < to; place++) drawn.push(listed(place));
    holder.replaceChildren(...drawn);
    if (found.length) list.setAttribute("aria-activedescendant", "row-" + active);
    else list.removeAttribute("aria-activedescendant");
  };
  const listed = (place) => {
    const row = rows[found[place]];
    const element = make("div", "row");
    element.id = "row-" + place;
    element.dataset.place = place;
    element.style.transform = `translateY(${place * ROW_HEIGHT}px)`;
    element.setAttribute("role", "option");
    element.setAttribute("aria-selected", String(place === active));
    element.setAttribute("aria-setsize", found.length);
    element.setAttribute("aria-posinset", place + 1);
    const about = make("small");
    const experiment = data.experiments.length > 1 ? data.experiments[row[E]] + " · " : "";
    about.append(`${experiment}policy ${row[POLICY]} · ${split(row)} · ${persona(row)[0]} · `
      + `${nats(row[SCORE])} · `, make("span", row[STATUS],
        row[REASON] ? row[REASON].replaceAll("_", " ") : row[STATUS]));
    element.append(make("span", "", task(row)[0]), about);
    return element;
  };
  const move = (place) => {
    if (!found.length) return;
    active = Math.max(0, Math.min(found.length - 1, place));
    const top = active * ROW_HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    const bottom = top + ROW_HEIGHT - list.clientHeight;
    if (bottom > list.scrollTop) list.scrollTop = bottom;
    draw();
  };

  /* One conversation beside another policy's on the same pair. */
  const title = (row) => `Policy ${row[POLICY]}` + (row[POLICY] === 0 ? ", the base model" : "");
  const policiesOf = (row) =>
    [...new Set(conversationsOf(row).map((one) => one[POLICY]))].sort((a, b) => a - b);
  let beside = null;  // what the reader chose; stays from one conversation to the next

  const shown = () => {
    const row = rows[found[active]];
    const [theTask, kind, domain] = task(row);
    const [name, life] = persona(row);
    const others = policiesOf(row).filter((policy) => policy !== row[POLICY]);
    const other = others.includes(beside) ? beside : row[POLICY] === 0 ? others.at(-1) : others[0];
    const select = $("beside");
    select.replaceChildren();
    fill(select, "", others.length ? others.map((p) => [p, "policy " + p]) : [["", "none"]]);
    if (other !== undefined) select.value = other;
    select.disabled = others.length === 0;
    $("position").textContent = `${active + 1} of ${found.length}`;

    const body = $("detail-body");
    const heading = make("h2", "", theTask);
    heading.id = "detail-title";
    const given = make("div", "two given");
    given.append(passage(name, life),
      passage("Gold response", data.pairs[row[PAIR]][3] ?? "There is none."));
    const columns = make("div", "two");
    const theirs = conversationsOf(row).filter((one) => one[POLICY] === other);
    const pair = theirs.length
      ? [row, theirs[Math.min(row[SAMPLE], theirs.length - 1)]].sort((a, b) => a[POLICY] - b[POLICY])
      : [row];
    for (const one of pair) columns.append(conversation(one, name));
    if (!theirs.length) columns.append(passage("No other policy",
      "No other policy has conversations of this pair: the training splits alternate."));
    const facts = [kind, domain, split(row)].filter(Boolean).join(" · ");
    body.replaceChildren(heading, make("p", "facts", facts), given, columns);
    const rest = otherArms(row);
    if (rest) body.append(rest);
    detail.scrollTop = 0;
  };
  const passage = (label, text) => {
    const section = make("section");
    section.append(make("h3", "", label), make("p", "text", text));
    return section;
  };
  const conversation = (row, name) => {
    const section = make("section");
    section.append(make("h3", "", `${title(row)}, conversation ${row[SAMPLE] + 1}`));
    const facts = make("p", "facts");
    facts.append(make("b", row[STATUS], status(row)), ` · ${nats(row[SCORE])} · roleplayer ${row[WHO]}`);
    section.append(facts);
    row[QUESTIONS].forEach((question, turn) => {
      section.append(said("ask", "questioner", question));
      if (row[ANSWERS][turn]) section.append(said("", name, row[ANSWERS][turn]));
    });
    const response = responsesOf(row)
      .find((r) => r[RPOLICY] === row[POLICY] && r[ARM] === "method");
    if (response) {
      const after = response[RSAMPLE] === null ? "" : `, after conversation ${response[RSAMPLE] + 1}`;
      section.append(make("h4", "", "Response" + after),
        make("p", "text", response[TEXT] || "(nothing)"));
      if (row[POLICY] > 0) section.append(verdict(response));
    }
    return section;
  };
  const said = (className, who, text) => {
    const turn = make("div", "turn " + className);
    turn.append(make("span", "", who), make("p", "text", text || "(nothing)"));
    return turn;
  };
  const WORDS = { win: "this response is preferred", loss: "the base model's is preferred", tie: "a tie" };
  const SHORT = { win: "won", loss: "lost", tie: "tied" };
  const verdict = (response) => {
    const line = make("p", "verdict");
    if (response[VERDICT]) {
      line.append("Judge: ", make("b", response[VERDICT], WORDS[response[VERDICT]]));
      const orders = [["standing first", response[FIRST]], ["standing second", response[SECOND]]]
        .filter(([, said]) => said).map(([order, said]) => `${SHORT[said]} ${order}`);
      if (orders.length) line.append(` (${orders.join(", ")})`);
    } else line.append(response[UNSCORED] ? `Not scored: ${response[UNSCORED]}.` : "Not judged.");
    return line;
  };
  const otherArms = (row) => {
    const policies = new Set([row[POLICY], 0]);
    const rest = responsesOf(row)
      .filter((r) => r[ARM] !== "method" && policies.has(r[RPOLICY]));
    if (!rest.length) return null;
    const details = make("details");
    details.append(make("summary", "", "The other arms' responses"));
    const columns = make("div", "two");
    for (const response of rest) {
      const section = passage(`Policy ${response[RPOLICY]}: ${ARMS[response[ARM]] ?? response[ARM]}`,
        response[TEXT] || "(nothing)");
      section.append(verdict(response));
      columns.append(section);
    }
    details.append(columns);
    return details;
  };

  const open = () => {
    if (!found.length) return;
    shown();
    if (!detail.open) detail.showModal();
    $("detail-body").focus({ preventScroll: true });
  };
  const step = (by) => {
    move(active + by);
    shown();
  };

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  let settling;
  form.addEventListener("input", () => {
    clearTimeout(settling);
    settling = setTimeout(filter, SETTLE_MS);
  });
  list.addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(draw).observe(list);
  list.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (!row) return;
    move(Number(row.dataset.place));
    open();
  });
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / ROW_HEIGHT) - 1);
    const places = {
      ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page,
      Home: 0, End: found.length - 1,
    };
    if (event.key in places) move(places[event.key]);
    else if (event.key === "Enter" || event.key === " ") open();
    else return;
    event.preventDefault();
  });
  detail.addEventListener("keydown", (event) => {
    if (event.target.closest("select")) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else return;
    event.preventDefault();
  });
  detail.addEventListener("close", () => list.focus({ preventScroll: true }));
  detail.addEventListener("click", (event) => { if (event.target === detail) detail.close(); });
  $("before").addEventListener("click", () => step(-1));
  $("after").addEventListener("click", () => step(1));
  $("close").addEventListener("click", () => detail.close());
  $("beside").addEventListener("change", (event) => {
    beside = Number(event.target.value);
    shown();
  });
  filter();
})();
