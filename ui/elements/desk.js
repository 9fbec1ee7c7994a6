// The desk: questions come a few ahead, an answer is sent at once, and sent again until the server says that it is stored.
const PAST = 10;
const AGAIN = 2000;
// What was answered and is not stored yet outlives the desk: the server may have been away, and the page drawn anew.
const pending = (window.cleanerUnsent ||= new Map());

function sit(root, first) {
  const byId = (id) => root.getElementById(id);
  const items = new Map();
  const answers = new Map();
  const marks = new Map();
  let pictures = {};
  let order = [];
  let past = [];
  let unsent = (pending.get(first.key) || []).map((said, place) => ({ ...said, n: first.ack + 1 + place }));
  let last = first.ack + unsent.length;
  let again;
  let here;
  let since = 0;
  let wholes = 0;
  let tell = () => {};

  const view = drawing(root, {
    asked: first.asked,
    classes: first.classes,
    typed: first.typed,
    paged: first.paged,
    picture: (row) => pictures[row],
    give(answer, newLabel) {
      const said = { n: ++last, id: here, answer, new_label: newLabel, seconds: (performance.now() - since) / 1000 };
      if (items.get(here).grid.length && answer === "wrong") said.marked = marks.get(here) || [];
      answers.set(here, said);
      unsent.push(said);
      past.push(here);
      here = undefined;
      next();
      send();
    },
    mark: (marked) => marks.set(here, marked),
    whole: (item, place) => send(item.grid.length ? item.grid[place] : item.picture),
  });

  function send(row) {
    const whole = row === undefined ? null : { n: ++wholes, row };
    pending.set(first.key, unsent);
    tell("said", { answers: unsent, have: [...items.keys()], whole });
  }

  function next() {
    const waiting = new Set(unsent.map((said) => said.id));
    if (here === undefined) here = order.find((id) => items.has(id) && !waiting.has(id));
    draw();
  }

  function draw() {
    byId("question").hidden = here === undefined;
    byId("over").hidden = here !== undefined || unsent.length > 0;
    if (here === undefined) return;
    since = performance.now();
    const item = items.get(here);
    view.draw(item, answers.get(here), marks.get(here) || [], item.note);
  }

  function undo() {
    if (!past.length) return;
    here = past.pop();
    draw();
  }

  function hear(event) {
    const target = event.composedPath()[0];
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName || "") || target.isContentEditable) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (!byId("large").hidden) {
      byId("large").hidden = true;
      if (event.key === "Escape" || event.key === "f") return;
    }
    const does = (here !== undefined && view.does(event.key)) || { Backspace: undo }[event.key];
    if (does) {
      event.preventDefault();
      event.stopImmediatePropagation();
      does();
    }
  }

  // Whoever has just typed a name goes on with the keys of answers.
  document.activeElement?.blur();
  document.addEventListener("keydown", hear, true);
  byId("whole").removeAttribute("target");
  byId("whole").href = "#";
  byId("whole").addEventListener("click", (event) => {
    event.preventDefault();
    send(items.get(here).picture);
  });
  byId("back").addEventListener("click", undo);
  byId("large").addEventListener("click", () => { byId("large").hidden = true; });

  return {
    update(data, setStateValue) {
      tell = setStateValue;
      unsent = unsent.filter((said) => said.n > data.ack);
      pending.set(first.key, unsent);
      clearTimeout(again);
      if (unsent.length) again = setTimeout(send, AGAIN);
      order = data.order;
      for (const item of data.items) items.set(item.id, item);
      pictures = { ...pictures, ...data.pictures };
      const kept = new Set([...order, ...past.slice(-PAST), here]);
      for (const id of items.keys()) if (!kept.has(id)) items.delete(id);
      byId("progress").max = data.progress.asked;
      byId("progress").value = data.progress.answered;
      byId("count").textContent = data.progress.words;
      byId("over").textContent = data.over;
      byId("keys").textContent = data.keys;
      if (data.whole && data.whole.src && data.whole.n === wholes) {
        wholes += 1;
        byId("large").hidden = false;
        byId("large").firstElementChild.src = data.whole.src;
      }
      if (here === undefined || !items.has(here)) {
        here = undefined;
        next();
      }
      // What the server thinks is here, and is not.
      if (order.some((id) => !items.has(id))) send();
    },
    stop() {
      clearTimeout(again);
      document.removeEventListener("keydown", hear, true);
    },
  };
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.getRootNode();
  if (!root.desk && !data.begins) {
    // The page was left and is opened anew: all has to be sent again.
    setStateValue("said", { answers: [], have: [], whole: null });
    return undefined;
  }
  root.desk ||= sit(root, data);
  root.desk.update(data, setStateValue);
  return () => {
    root.desk?.stop();
    delete root.desk;
  };
}
