const review = JSON.parse(document.getElementById("review").textContent);
const items = review.items;
const byId = (id) => document.getElementById(id);
let answers = {};
let saved = {};
let marks = {};
let here = 0;

const view = drawing(document, {
  asked: review.asked,
  classes: review.classes,
  typed: review.typed,
  paged: review.paged,
  picture: (row) => review.pictures[row],
  give,
  mark(marked) {
    marks[here] = marked;
    delete answers[here];
    remember();
    drawProgress();
  },
  whole(item, place) {
    if (!item.files[place]) return;
    byId("whole").href = item.files[place];
    byId("whole").click();
  },
});

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

function draw() {
  const item = items[here];
  if (!item) return;
  view.draw(item, answers[here], marks[here] || [], `${here + 1} of ${items.length} · ${item.note}`);
  byId("whole").hidden = item.grid.length > 0 || !item.files[0];
  if (item.files[0]) byId("whole").href = item.files[0];
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

const keys = {
  ArrowLeft: () => go(here - 1),
  ArrowRight: () => go(here + 1),
  PageUp: () => go(here - 1),
  PageDown: () => go(here + 1),
  n: nextOpen,
  Backspace: () => { delete answers[here]; go(here); },
};

document.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT") {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || !items.length) return;
  const does = view.does(event.key) || keys[event.key];
  if (does) {
    event.preventDefault();
    does();
  }
});
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
