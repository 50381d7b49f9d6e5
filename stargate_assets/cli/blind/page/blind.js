/* The page of blind comparisons. Every text reaches it through textContent. The rater's name and a
   reason that is being written are of the tab, and outlive a reload. */
"use strict";
(() => {
  const KEYS = { 1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", 0: "tie" };
  const $ = (id) => document.getElementById(id);
  const tab = sessionStorage;
  const buttons = [...document.querySelectorAll("[data-prefers]")];
  let rater = tab.getItem("rater") ?? document.body.dataset.rater;
  let shown = null, since = 0, waiting = false, sent = 0;

  const wait = (on) => {
    waiting = on;
    for (const button of buttons) button.disabled = on;
  };
  const tell = (fault) => {
    $("fault").hidden = !fault;
    $("fault").textContent = fault;
    if ($("again")) $("again").hidden = !fault;
  };
  const ask = async (path, options) => {
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw new Error("Nothing answers; start stargate compare-blind again. Nothing that was stored is lost.");
    }
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    return found;
  };
  /* Shows where what is asked for leads to, unless more was asked for since; says what is wrong and
     leaves the page as it is. */
  const go = async (path, options) => {
    const number = ++sent;
    wait(true);
    try {
      const progress = await ask(path, options);
      if (number === sent) {
        show(progress);
        tell("");
      }
      return true;
    } catch (error) {
      tell(error.message);
      return false;
    } finally {
      wait(false);
    }
  };
  const post = (path, said) =>
    go(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ rater, ...said }),
    });
  const begin = () => go("/next?" + new URLSearchParams({ rater }));
  const showReason = () => {
    $("reason").value = tab.getItem("reason " + shown.comparison) ?? "";
    since = performance.now();
  };
  const live = window.makeLive?.({ $, tab, post, begin, showReason });

  const show = (progress) => {
    shown = progress.shown;
    $("who").hidden = true;
    $("another").hidden = false;
    if (live) {
      $("progress").textContent = `${rater}: ${progress.judged} judged`;
      live.show(progress);
      return;
    }
    $("progress").textContent = `${rater}: ${progress.judged} of ${progress.of} judged`;
    $("done").hidden = false;
    $("done").max = progress.of || 1;
    $("done").value = progress.judged;
    $("pair").hidden = !shown;
    $("end").hidden = !!shown;
    if (!shown) {
      $("end").querySelector("h1").focus();
      return;
    }
    $("asks").textContent = `You are ${shown.name}, and you ask:`;
    $("task").textContent = shown.task;
    for (const id of ["persona", "left", "right"]) $(id).textContent = shown[id] || "(The answer is empty.)";
    scrollTo(0, 0);
    $("task").focus({ preventScroll: true });
    showReason();
  };
  const askWho = () => {
    live?.stop();
    for (const id of ["pair", "end", "another", "done"]) $(id).hidden = true;
    $("progress").textContent = "";
    $("who").hidden = false;
    $("who").elements.rater.focus();
  };

  const choose = async (prefers) => {
    if (waiting || !shown || $("choice").hidden) return;
    const said = {
      comparison: shown.comparison, prefers, reason: $("reason").value.toWellFormed(),
      seconds: (performance.now() - since) / 1000,
    };
    if (await post("/verdicts", said)) tab.removeItem("reason " + said.comparison);
  };

  for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.prefers));
  $("reason").addEventListener("input", () => shown && tab.setItem("reason " + shown.comparison, $("reason").value));
  $("who").addEventListener("submit", (event) => {
    event.preventDefault();
    rater = $("who").elements.rater.value.trim();
    begin().then((known) => known && tab.setItem("rater", rater));
  });
  $("another").addEventListener("click", () => {
    tab.removeItem("rater");
    shown = null;
    askWho();
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const writing = event.target.matches("input, textarea");
    if (event.key === "Escape" && writing) $("task").focus({ preventScroll: true });
    else if (writing || !shown || $("choice").hidden) return;
    else if (event.key === "r" || event.key === "R") {
      event.preventDefault();
      $("reason").focus();
    } else if (event.key in KEYS) {
      event.preventDefault();
      choose(KEYS[event.key]);
    }
  });

  if (rater) begin();
  else askWho();
})();
