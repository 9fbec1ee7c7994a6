"use strict";
const review = JSON.parse(document.getElementById("review").textContent);
const items = review.items;
const byId = (id) => document.getElementById(id);
const known = new Set(review.classes);
let answers = {};
let saved = {};
let marks = {};
let here = 0;

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function restore() {
  try {
    const kept = JSON.parse(localStorage.getItem(review.key) || "{}");
    answers = kept.answers || {};
    saved = kept.saved || {};
    marks = kept.marks || {};
    here = Math.min(kept.here || 0, Math.max(items.length - 1, 0));
    byId("reviewer").value = localStorage.getItem("cleaner reviewer") || "";
  } catch {
    byId("trouble").textContent = "This browser keeps nothing: save before you close the page.";
  }
}

function remember() {
  try {
    localStorage.setItem(review.key, JSON.stringify({ answers, saved, marks, here }));
    localStorage.setItem("cleaner reviewer", byId("reviewer").value);
  } catch {
    byId("trouble").textContent = "This browser keeps nothing: save before you close the page.";
  }
}

function show(image, row) {
  image.hidden = !(row in review.pictures);
  image.classList.remove("tiny");
  // A picture of few pixels is shown enlarged, and sharp.
  image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 64 && image.naturalHeight <= 64);
  if (!image.hidden) image.src = review.pictures[row];
}

function isChosen(choice, answer) {
  return Boolean(answer) && answer.answer === choice.answer && answer.new_label === choice.new_label;
}

function drawGrid(item) {
  byId("grid").hidden = !item.grid.length;
  byId("picture").hidden ||= item.grid.length > 0;
  byId("grid").replaceChildren(...item.grid.map((row, place) => {
    const button = element("button");
    const image = element("img");
    image.alt = item.lines[place].path;
    button.title = item.lines[place].path;
    button.setAttribute("aria-pressed", (marks[here] || []).includes(place));
    button.append(image);
    button.addEventListener("click", () => toggle(place));
    show(image, row);
    return button;
  }));
}

function toggle(place) {
  const marked = new Set(marks[here] || []);
  if (!marked.delete(place)) marked.add(place);
  marks[here] = [...marked];
  // What was said of the page before holds no more.
  delete answers[here];
  remember();
  byId("grid").children[place].setAttribute("aria-pressed", marked.has(place));
  drawChoices(items[here]);
  drawProgress();
}

function focusCell(step) {
  const cells = Array.from(byId("grid").children);
  const place = cells.indexOf(document.activeElement);
  cells[Math.max(0, Math.min(cells.length - 1, place < 0 ? 0 : place + step))]?.focus();
}

function across() {
  return getComputedStyle(byId("grid")).gridTemplateColumns.split(" ").length;
}

function drawChoices(item) {
  byId("choices").replaceChildren(...item.choices.map((choice) => {
    const button = element("button", undefined, isChosen(choice, answers[here]) ? "chosen" : "");
    button.append(element("kbd", choice.key), element("span", choice.text), element("span", choice.note, "soft"));
    button.addEventListener("click", () => give(choice.answer, choice.new_label));
    return button;
  }));
  const answer = answers[here];
  const typed = answer && answer.new_label && !item.choices.some((choice) => isChosen(choice, answer));
  byId("typed").value = typed ? answer.new_label : "";
  byId("typed").classList.toggle("chosen", Boolean(typed));
}

function drawReferences(item) {
  byId("references").replaceChildren(...item.groups.filter((group) => group.rows.length).map((group) => {
    const box = element("div");
    const title = element("h3", group.title + " ");
    title.append(element("span", group.note, "soft"));
    const row = element("div");
    for (const number of group.rows) {
      const image = element("img");
      image.alt = group.title;
      show(image, number);
      row.append(image);
    }
    box.append(title, row);
    return box;
  }));
}

function draw() {
  const item = items[here];
  if (!item) return;
  byId("question").classList.toggle("whole", item.picture === null);
  byId("shown").hidden = item.picture === null && !item.grid.length;
  byId("picture").hidden = item.picture === null;
  if (item.picture !== null) show(byId("picture"), item.picture);
  drawGrid(item);
  byId("whole").hidden = item.grid.length > 0 || !item.files[0];
  if (item.files[0]) byId("whole").href = item.files[0];
  byId("title").textContent = item.title;
  byId("note").textContent = `${here + 1} of ${items.length} · ${item.note}`;
  drawChoices(item);
  drawReferences(item);
  drawProgress();
}

function unsaved() {
  const numbers = new Set([...Object.keys(answers), ...Object.keys(saved)]);
  return [...numbers].filter((n) => JSON.stringify(answers[n]) !== JSON.stringify(saved[n])).length;
}

function drawProgress() {
  const done = Object.keys(answers).length;
  const open = unsaved();
  byId("state").textContent = open ? `${open} not saved` : done ? "all saved" : "";
  byId("state").classList.toggle("open", open > 0);
  byId("next").hidden = done < items.length || !items.length;
  byId("progress").value = done;
  byId("count").textContent = `${done} of ${items.length} ${review.paged ? "pages " : ""}answered`;
  Array.from(byId("all").children).forEach((dot, number) => {
    dot.classList.toggle("answered", number in answers);
    dot.classList.toggle("here", number === here);
  });
}

function go(number) {
  here = Math.max(0, Math.min(items.length - 1, number));
  byId("typed").blur();
  remember();
  draw();
}

function give(answer, newLabel) {
  answers[here] = { answer, new_label: newLabel, reviewer: byId("reviewer").value };
  if (items[here].grid.length && answer === "wrong") answers[here].marked = marks[here] || [];
  go(here + 1);
}

function nextOpen() {
  const order = items.map((_, step) => (here + 1 + step) % items.length);
  const open = order.find((number) => !(number in answers));
  go(open === undefined ? here : open);
}

function cell(text) {
  const guarded = /^[=+\-@\t\r']/.test(text) ? "'" + text : text;
  return '"' + guarded.replaceAll('"', '""') + '"';
}

function save() {
  const lines = items.flatMap((item, number) => item.lines.map((line, place) => {
    const answer = answers[number] || {};
    const cells = { ...line, ...answer };
    if (answer.marked && !answer.marked.includes(place)) cells.answer = "right";
    if (answer.answer) cells.reviewer = answer.reviewer || byId("reviewer").value;
    return review.columns.map((column) => cell(cells[column] || "")).join(",");
  }));
  const text = "\ufeff" + [review.columns.join(","), ...lines].join("\r\n") + "\r\n";
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = review.name + ".csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  saved = { ...answers };
  byId("said").textContent = `${Object.keys(saved).length} ${review.paged ? "pages" : "answers"} saved at ${new Date().toLocaleTimeString()}.`;
  remember();
  drawProgress();
}

function takeTyped() {
  const name = byId("typed").value.trim();
  const found = known.has(name) ? name : review.classes.find((other) => other.toLowerCase() === name.toLowerCase());
  if (found === undefined) {
    byId("typed").setCustomValidity(`There is no class ${name}.`);
    byId("typed").reportValidity();
  } else if (found === items[here].title) give(review.typed.same, "");
  else give(review.typed.answer, found);
}

function showWhole() {
  const place = Array.from(byId("grid").children).indexOf(document.activeElement);
  const file = items[here].files[Math.max(place, 0)];
  if (!file) return;
  byId("whole").href = file;
  byId("whole").click();
}

const keys = {
  ArrowLeft: () => (review.paged ? focusCell(-1) : go(here - 1)),
  ArrowRight: () => (review.paged ? focusCell(1) : go(here + 1)),
  ArrowUp: () => { if (review.paged) focusCell(-across()); },
  ArrowDown: () => { if (review.paged) focusCell(across()); },
  PageUp: () => go(here - 1),
  PageDown: () => go(here + 1),
  n: nextOpen,
  a: () => byId("typed").focus(),
  f: showWhole,
  Backspace: () => { delete answers[here]; go(here); },
};

document.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT") {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || !items.length) return;
  const choice = items[here].choices.find((one) => one.key.toLowerCase() === event.key.toLowerCase());
  const does = choice ? () => give(choice.answer, choice.new_label) : keys[event.key];
  if (does) {
    event.preventDefault();
    does();
  }
});
byId("typed").addEventListener("input", () => byId("typed").setCustomValidity(""));
byId("typed").addEventListener("keydown", (event) => {
  if (event.key === "Enter") takeTyped();
});
byId("typed").hidden = !review.classes.length || review.paged;
byId("names").append(...review.classes.map((name) => {
  const option = element("option");
  option.value = name;
  return option;
}));
byId("reviewer").addEventListener("input", remember);
byId("save").addEventListener("click", save);
byId("all").append(...items.map((item, number) => {
  const dot = element("button");
  dot.title = `${number + 1}: ${item.title}`;
  dot.addEventListener("click", () => go(number));
  return dot;
}));
restore();
draw();
