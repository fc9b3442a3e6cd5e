// Hides the questions that the two selections leave out and says how many remain.
(() => {
  "use strict";
  const form = document.getElementById("filters");
  if (!form) return;
  const task = document.getElementById("filter-task");
  const direction = document.getElementById("filter-direction");
  const count = document.getElementById("filter-count");
  const sections = [...document.querySelectorAll("section.task")];
  const total = document.querySelectorAll("details.question").length;

  const apply = () => {
    let shown = 0;
    for (const section of sections) {
      let here = 0;
      const other = task.value && section.dataset.task !== task.value;
      for (const row of section.querySelectorAll("details.question")) {
        row.hidden = Boolean(other || (direction.value && row.dataset.direction !== direction.value));
        here += row.hidden ? 0 : 1;
      }
      section.hidden = here === 0;
      shown += here;
    }
    count.textContent = `${shown} of ${total} shown`;
  };

  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  document.getElementById("no-filters").hidden = true;
  // A reload may keep what was selected.
  apply();
})();
