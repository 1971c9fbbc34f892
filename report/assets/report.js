// Every column of a table sorts by its heading: a button, so that a keyboard reaches it and a screen reader names it.
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0];
  const inOrder = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  if (inOrder.length < 2) continue;
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  const compare = (a, b) => {
    const numbers = (typeof a === "number") - (typeof b === "number");
    if (numbers) return -numbers;
    return typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    const words = document.createElement("span");
    button.type = "button";
    words.append(...head.childNodes);
    button.append(words);
    head.append(button);
    button.addEventListener("click", () => {
      // Numbers begin with the largest, words with the first letter; a third click restores the order.
      const first = inOrder.some((row) => row.cells[column].dataset.v !== undefined) ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const now = head.getAttribute("aria-sort");
      const next = now === first ? other : now === other ? null : first;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const rows = [...inOrder];
      // What has no number stays last, whichever way is sorted.
      if (next) {
        rows.sort((a, b) => {
          const [x, y] = [key(a, column), key(b, column)];
          return typeof x === typeof y ? sign * compare(x, y) : compare(x, y);
        });
      }
      body.append(...rows);
    });
  });
}

// What is wider than the screen is reached with the keyboard, so that it can be scrolled; the rest are not stops.
const widths = new ResizeObserver((seen) => {
  for (const { target } of seen) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const each of document.querySelectorAll(".scroll, pre")) widths.observe(each);

// Paper cannot be unfolded: every environment is on it. Of long lists it says that they are in the file.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("#environment details:not([open])")];
  for (const each of opened) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of opened) each.open = false;
});
