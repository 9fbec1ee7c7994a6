"use strict";
// One question about an image, a page of images or a class: drawn within `root`, answered by clicks and keys. The `host`
// says what is `asked`, which `classes` there are, what is `typed`, whether images come in `paged` questions, and the `picture` of a row;
// it is told of answers by `give(answer, newLabel)`, of marks by `mark(marks)`, and by `whole(item, place)` that somebody
// wants to see a photo whole. The sheet and the dashboard's desk are its hosts.

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function drawing(root, host) {
  const byId = (id) => root.getElementById(id);
  const known = new Set(host.classes);
  let item;
  let answer;
  let marks = [];

  function show(image, row) {
    const source = host.picture(row);
    image.hidden = !source;
    image.classList.remove("tiny");
    // A picture of few pixels is shown enlarged, and sharp.
    image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 64 && image.naturalHeight <= 64);
    if (source) image.src = source;
  }

  function isChosen(choice) {
    return Boolean(answer) && answer.answer === choice.answer && answer.new_label === choice.new_label;
  }

  function drawGrid() {
    byId("grid").hidden = !item.grid.length;
    byId("picture").hidden ||= item.grid.length > 0;
    byId("grid").replaceChildren(...item.grid.map((row, place) => {
      const button = element("button");
      const image = element("img");
      image.alt = item.lines[place].path;
      button.title = item.lines[place].path;
      button.setAttribute("aria-pressed", marks.includes(place));
      button.append(image);
      button.addEventListener("click", () => toggle(place));
      show(image, row);
      return button;
    }));
  }

  function toggle(place) {
    const marked = new Set(marks);
    if (!marked.delete(place)) marked.add(place);
    marks = [...marked];
    // What was said of the page before holds no more.
    answer = undefined;
    byId("grid").children[place].setAttribute("aria-pressed", marked.has(place));
    drawChoices();
    host.mark(marks);
  }

  function focusCell(step) {
    const cells = Array.from(byId("grid").children);
    const place = cells.indexOf(root.activeElement);
    cells[Math.max(0, Math.min(cells.length - 1, place < 0 ? 0 : place + step))]?.focus();
  }

  function across() {
    return getComputedStyle(byId("grid")).gridTemplateColumns.split(" ").length;
  }

  function drawChoices() {
    byId("choices").replaceChildren(...item.choices.map((choice) => {
      const button = element("button", undefined, isChosen(choice) ? "chosen" : "");
      button.append(element("kbd", choice.key), element("span", choice.text), element("span", choice.note, "soft"));
      button.addEventListener("click", () => host.give(choice.answer, choice.new_label));
      return button;
    }));
    const typed = answer && answer.new_label && !item.choices.some(isChosen);
    byId("typed").value = typed ? answer.new_label : "";
    byId("typed").classList.toggle("chosen", Boolean(typed));
  }

  function drawReferences() {
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

  function takeTyped() {
    const name = byId("typed").value.trim();
    const found = known.has(name) ? name : host.classes.find((other) => other.toLowerCase() === name.toLowerCase());
    if (found === undefined) {
      byId("typed").setCustomValidity(`There is no class ${name}.`);
      byId("typed").reportValidity();
    } else if (found === item.title) host.give(host.typed.same, "");
    else host.give(host.typed.answer, found);
  }

  byId("typed").addEventListener("input", () => byId("typed").setCustomValidity(""));
  byId("typed").addEventListener("keydown", (event) => {
    if (event.key === "Enter") takeTyped();
  });
  byId("asked").textContent = host.asked;
  byId("typed").hidden = !host.classes.length || host.paged;
  byId("typed").placeholder = host.typed.ask;
  byId("names").append(...host.classes.map((name) => {
    const option = element("option");
    option.value = name;
    return option;
  }));

  const keys = {
    ArrowUp: () => { if (host.paged) focusCell(-across()); },
    ArrowDown: () => { if (host.paged) focusCell(across()); },
    a: () => byId("typed").focus(),
    f: () => host.whole(item, Math.max(0, Array.from(byId("grid").children).indexOf(root.activeElement))),
  };
  if (host.paged) Object.assign(keys, { ArrowLeft: () => focusCell(-1), ArrowRight: () => focusCell(1) });

  return {
    // Show a question, with what was answered and marked before, and a note.
    draw(question, before, marked, note) {
      [item, answer, marks] = [question, before, marked];
      byId("question").classList.toggle("whole", item.picture === null);
      byId("shown").hidden = item.picture === null && !item.grid.length;
      byId("picture").hidden = item.picture === null;
      if (item.picture !== null) show(byId("picture"), item.picture);
      drawGrid();
      byId("title").textContent = item.title;
      byId("note").textContent = note;
      byId("typed").blur();
      drawChoices();
      drawReferences();
    },
    // What a key does here; undefined where it does nothing.
    does(key) {
      const choice = item && item.choices.find((one) => one.key.toLowerCase() === key.toLowerCase());
      return choice ? () => host.give(choice.answer, choice.new_label) : item && keys[key];
    },
  };
}
