export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".grid");
  grid.replaceChildren(...data.cells.map((cell) => {
    const button = document.createElement("button");
    button.className = cell.tone;
    button.title = cell.hint;
    if (cell.picture) {
      const image = document.createElement("img");
      image.alt = cell.hint;
      // A picture of few pixels is shown enlarged, and sharp.
      image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 64 && image.naturalHeight <= 64);
      image.src = cell.picture;
      button.append(image);
    } else {
      const gone = document.createElement("div");
      gone.className = "gone";
      gone.textContent = "can't be shown";
      button.append(gone);
    }
    for (const [name, text] of [["title", cell.title], ["note", cell.note]]) {
      const line = document.createElement("span");
      line.className = name;
      line.textContent = text;
      button.append(line);
    }
    button.addEventListener("click", () => setTriggerValue("clicked", cell.row));
    return button;
  }));
  const cells = Array.from(grid.children);
  grid.onkeydown = (event) => {
    const across = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    cells[cells.indexOf(event.composedPath()[0]) + step]?.focus();
  };
}
