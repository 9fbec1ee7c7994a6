"use strict";
// Sort the table of classes by a click on a column's head, and filter it by name.
const table = document.getElementById("classes");
const body = table.tBodies[0];
let sortedBy = 0;
let upwards = true;

function cell(row, column) {
  const text = row.cells[column].dataset.value;
  return column === 0 ? text : Number(text);
}

function compare(a, b) {
  if (a === b) return 0;
  return (a < b ? -1 : 1) * (upwards ? 1 : -1);
}

table.tHead.addEventListener("click", (event) => {
  const head = event.target.closest("th");
  if (!head) return;
  upwards = head.cellIndex === sortedBy ? !upwards : head.cellIndex === 0;
  sortedBy = head.cellIndex;
  const rows = Array.from(body.rows);
  rows.sort((a, b) => compare(cell(a, sortedBy), cell(b, sortedBy)));
  body.append(...rows);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", upwards ? "ascending" : "descending");
});

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const row of body.rows) row.hidden = !cell(row, 0).toLowerCase().includes(wanted);
});

// A click on a picture shows it large, with what is said of it.
const dialog = document.querySelector("dialog");
document.querySelector("main").addEventListener("click", (event) => {
  const image = event.target.closest("figure img, .pair img");
  if (!image) return;
  dialog.querySelector("img").src = image.src;
  document.getElementById("which").textContent = image.alt;
  document.getElementById("why").textContent = image.title === image.alt ? "" : image.title;
  dialog.showModal();
});
dialog.addEventListener("click", () => dialog.close());
