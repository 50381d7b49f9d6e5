/* Two conversations side by side: what blind.js shows when raters talk with both policies. Replies
   that are being written are of the tab, and outlive a reload. */
"use strict";
window.makeLive = ({ $, tab, post, begin, showReason }) => {
  const PLACES = ["left", "right"], POLL_MILLISECONDS = 400;
  const forms = Object.fromEntries([...document.querySelectorAll("[data-place]")].map((f) => [f.dataset.place, f]));
  const draft = (place) => `reply ${shown.comparison} ${place}`;
  let shown = null, timer = 0;

  const stop = () => {
    clearTimeout(timer);
    for (const id of ["offer", "again"]) $(id).hidden = true;
    shown = null;
  };

  const showOffer = ({ offered, lost }) => {
    $("lost").hidden = !lost;
    $("lost").textContent = `The last comparison came to nothing, because one gave no answer: ${lost}`;
    $("offered").hidden = !offered;
    $("own").textContent = offered ? "Or be yourself, and ask for something of your own" : "What do you ask for?";
    $("offer").elements.request.required = !offered;
    if (offered) {
      $("offered-asks").textContent = `You are ${offered.name}, and you ask:`;
      $("offered-task").textContent = offered.task;
      $("offered-persona").textContent = offered.persona;
    }
    scrollTo(0, 0);
    $("offer").querySelector(offered ? "button" : "textarea").focus({ preventScroll: true });
  };

  /* Rows that are there stay, so that nothing is read out twice. */
  const showTurns = (place, side) => {
    const turns = side.said.map((text, n) => (n % 2 ? ["You", "turn", text] : ["Assistant", "turn ask", text]));
    if (side.writing) turns.push(["Assistant", "turn ask", side.writing]);
    if (side.response !== null) turns.push(["Answer", "turn", side.response || "(The answer is empty.)"]);
    const log = $(place);
    while (log.children.length > turns.length) log.lastChild.remove();
    turns.forEach(([who, kind, text], n) => {
      const row = log.children[n] ?? log.appendChild(document.createElement("div"));
      if (!row.children.length) {
        row.append(document.createElement("span"), document.createElement("p"));
        row.lastChild.className = "text";
      }
      row.className = kind;
      if (row.firstChild.textContent !== who) row.firstChild.textContent = who;
      if (row.lastChild.textContent !== text) row.lastChild.textContent = text;
    });
  };

  const showStatus = (place, side) => {
    const before = side.ahead === 1 ? "1 conversation is" : `${side.ahead} conversations are`;
    const waits = side.ahead ? `Waiting: ${before} before this one.` : "The assistant is writing …";
    const said = side.ahead === null ? "" : waits;
    if ($(place + "-status").textContent !== said) $(place + "-status").textContent = said;
  };

  const awaitsReply = (side) => side.ahead === null && side.response === null;

  const showPair = (isNew) => {
    if (isNew) {
      $("asks").textContent = shown.persona ? `You are ${shown.name}, and you ask:` : "You ask:";
      $("task").textContent = shown.task;
      $("persona").textContent = shown.persona;
      $("who-you-are").hidden = !shown.persona;
      scrollTo(0, 0);
    }
    for (const place of PLACES) {
      const side = shown[place], form = forms[place], field = form.querySelector("textarea");
      showTurns(place, side);
      showStatus(place, side);
      const opens = awaitsReply(side) && (form.hidden || isNew);
      form.hidden = !awaitsReply(side);
      if (opens) field.value = tab.getItem(draft(place)) ?? "";
    }
    const done = PLACES.every((place) => shown[place].response !== null), wasDone = !$("choice").hidden;
    $("choice").hidden = !done;
    if (done && (isNew || !wasDone)) showReason();
    moveFocus(isNew, done && (isNew || !wasDone));
    if (PLACES.some((place) => shown[place].ahead !== null)) timer = setTimeout(begin, POLL_MILLISECONDS);
  };

  /* To the reply that is waited for, unless something is being written. */
  const moveFocus = (isNew, nowDone) => {
    const active = document.activeElement;
    const busy = !isNew && active.matches("textarea, button, summary") && active.offsetParent !== null;
    if (busy) return;
    const open = PLACES.map((place) => forms[place]).find((form) => !form.hidden);
    if (open) open.querySelector("textarea").focus({ preventScroll: isNew });
    else if (isNew || nowDone) $("task").focus({ preventScroll: true });
  };

  const show = (progress) => {
    clearTimeout(timer);
    const isNew = shown?.comparison !== progress.shown?.comparison;
    shown = progress.shown;
    $("offer").hidden = !!shown;
    $("pair").hidden = !shown;
    if (shown) showPair(isNew);
    else showOffer(progress);
  };

  const reply = async (place, text) => {
    const key = draft(place);
    if (text !== null && !text.trim()) return;
    forms[place].hidden = true;
    $(place + "-status").textContent = "Sending …";
    if (await post("/replies", { comparison: shown.comparison, place, text })) {
      tab.removeItem(key);
      return;
    }
    $(place + "-status").textContent = "";
    forms[place].hidden = false;
  };

  for (const place of PLACES) {
    const form = forms[place], field = form.querySelector("textarea");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      reply(place, field.value.toWellFormed());
    });
    form.querySelector("[data-answer]").addEventListener("click", () => reply(place, null));
    field.addEventListener("input", () => tab.setItem(draft(place), field.value));
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
  }
  $("offer").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = $("offer").elements.request;
    if (await post("/begin", { request: field.value.toWellFormed() })) field.value = "";
  });
  $("again").addEventListener("click", begin);
  return { show, stop };
};
